"""The job summary, the page."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from knarr.cli.flags.logging import LogFlags
from knarr.errors import KnarrError, OutputError, RunError
from support.html_pages import check_page
from support.places import DATA
from support.report_events import ERROR, FAILING, HOSTILE, SUCCEEDING, Story
from support.report_replay import Replay

GOLDEN = DATA / "report"
STORIES = {"succeeding": (SUCCEEDING, None), "failing": (FAILING, ERROR)}


@pytest.mark.parametrize("name", STORIES)
def test_job_summary(name: str, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    Replay(environment=environment).tell(*STORIES[name])
    text = summary.read_text()
    assert text == (GOLDEN / f"summary-{name}.md").read_text()
    assert "<script" not in text
    assert "javascript:" not in text
    assert not re.search(r"@octocat|`|\x1b", text)


@pytest.mark.parametrize(
    "environment", [{"GITHUB_ACTIONS": "true"}, {"GITHUB_STEP_SUMMARY": "/nowhere/else"}]
)
def test_no_job_summary(environment: dict[str, str]) -> None:
    assert "job summary" not in Replay(environment=environment).tell(SUCCEEDING)


def test_a_job_summary_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}
    assert "warning: can't write the job summary" in Replay(environment=environment).tell(SUCCEEDING)


def write_page(path: Path, story: Story, error: KnarrError | None = None) -> str:
    Replay(LogFlags(report=str(path))).tell(story, error)
    return path.read_text()


@pytest.mark.parametrize("name", STORIES)
def test_page_is_well_formed_and_asks_for_nothing(name: str, tmp_path: Path) -> None:
    text = write_page(tmp_path / "made" / "page.html", *STORIES[name])
    page = check_page(text)
    assert "<script" not in text
    assert "alert('x')" in page.text
    assert not page.sources
    assert not [link for link in page.links if not link.startswith(("#L", "https://x.example/rule"))]
    assert "LegacyKeyValueFormat" in page.text
    assert list(tmp_path.glob("**/.*")) == []


def test_page_of_a_failure_says_where_and_why(tmp_path: Path) -> None:
    page = check_page(write_page(tmp_path / "page.html", FAILING, ERROR))
    assert "Why it failed" in page.text
    assert "the process ended with status 2" in page.text
    assert "line 5 of the Dockerfile" in page.text
    assert "#L5" in page.links


def test_both_have_the_last_lines_of_output(tmp_path: Path) -> None:
    """As text, whatever is in it."""
    output = f"make: *** all\n{HOSTILE}\nmake: Error 2"
    error = RunError("Dockerfile:5: RUN make: status 2", status=2, hint="look above", output=output)
    page = check_page(write_page(tmp_path / "page.html", FAILING, error))
    assert "make: *** all\n<script>alert('x')</script> | `code`" in page.text
    assert "\x1b" not in page.text
    summary = tmp_path / "summary.md"
    Replay(environment={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}).tell(FAILING, error)
    assert "make&#58; Error 2</pre>" in summary.read_text()
    assert not re.search(r"<script|@octocat|`|\x1b", summary.read_text())


def test_page_has_phases_layers_and_verdicts(tmp_path: Path) -> None:
    text = write_page(tmp_path / "page.html", SUCCEEDING)
    for phase in ("download", "extract", "run", "snapshot", "compress", "upload"):
        assert f'class="{phase}"' in text
    page = check_page(text)
    assert "not in the cache" in page.text
    assert "66.3 MB" in page.text
    assert "registry.example/team/app:1" in page.text


def test_page_of_a_build_that_never_began(tmp_path: Path) -> None:
    page = check_page(write_page(tmp_path / "page.html", [], KnarrError("no such Dockerfile")))
    assert "no such Dockerfile" in page.text


def test_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"--report .*/file is not a directory"):
        Replay(LogFlags(report=str(tmp_path / "file" / "page.html"))).tell(SUCCEEDING)
    with pytest.raises(OutputError, match=r"--report: .* is a directory"):
        Replay(LogFlags(report=str(tmp_path))).tell(SUCCEEDING)


def test_page_replaces_no_device_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("page.html")
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        Replay(LogFlags(report=str(tmp_path / "pipe"))).tell(SUCCEEDING)
        assert check_page(reader.communicate()[0]).text
    assert check_page(write_page(tmp_path / "link", SUCCEEDING)).text
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "page.html", "pipe"]
