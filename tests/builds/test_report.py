"""What real builds show: folds, JSON lines, the job summary, the page; where they fail too."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.html_pages import check_page
from support.knarr_cli import EXECUTOR, knarr
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

GOOD = """\
FROM busybox AS build
ENV A b
COPY <<EOT /title
<script>alert(1)</script>
EOT
RUN cat /title; printf 'no newline'
RUN echo '::error::not mine'; echo more >> /title
FROM busybox
COPY --from=build /title /
"""
BAD = f"{GOOD}RUN echo going; exit 7\nRUN echo never\n"


class Case:
    """A context with a registry to push to."""

    def __init__(self, registry: Registry, directory: Path) -> None:
        self.registry = registry
        self.context = directory / "context"
        self.context.mkdir()
        self.page = directory / "page.html"
        self.summary = directory / "summary.md"

    def build(self, text: str, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.context / "Dockerfile").write_text(text)
        host = self.registry.host
        common = [
            f"--insecure-registry={host}",
            f"--registry-map=docker.io={host}",
            f"-d={host}/report/app:1",
        ]
        unset = {"GITHUB_ACTIONS": "", "GITLAB_CI": "", "GITHUB_STEP_SUMMARY": "", "CI": "", "NO_COLOR": ""}
        return knarr(["build", str(self.context), *common, *flags], environment={**unset, **environment})


@pytest.fixture
def case(base_registry: Registry, tmp_path: Path) -> Case:
    return Case(base_registry, tmp_path)


@pytest.mark.parametrize(("text", "status"), [(GOOD, 0), (BAD, 7)])
def test_github(case: Case, text: str, status: int) -> None:
    result = case.build(
        text, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(case.summary), GITHUB_WORKSPACE=str(case.context)
    )
    assert result.returncode == status, result.stderr
    lines = result.stderr.splitlines()
    commands = [line for line in lines if line.startswith(("::group::", "::endgroup::"))]
    assert [line.split("::")[1] for line in commands] == ["group", "endgroup"] * (len(commands) // 2)
    assert commands
    stopped = [line for line in lines if line.startswith("::stop-commands::")]
    assert len(stopped) == 2 + (status != 0)
    token = stopped[0].rpartition("::")[2]
    assert lines.count(f"::{token}::") == len(stopped)
    errors = [line for line in lines if line.startswith("::error file=Dockerfile,line=10,")]
    assert len(errors) == (status != 0)
    assert "### " in case.summary.read_text()
    assert "<script" not in case.summary.read_text()


def test_annotation_of_a_check(case: Case) -> None:
    result = case.build("FROM scratch\nENV A b\nCOPY <<E /e\nE\n", GITHUB_ACTIONS="true")
    assert "line=2,endLine=2,title=LegacyKeyValueFormat::" in result.stderr


def test_gitlab_sections_are_balanced(case: Case) -> None:
    result = case.build(BAD, GITLAB_CI="true")
    parts = [part for part in result.stderr.split("\x1b[0K") if part.startswith("section_")]
    marks = [part.strip().split(":") for part in parts]
    names = [name for _, _, name in marks]
    assert [kind for kind, _, _ in marks] == ["section_start", "section_end"] * (len(marks) // 2)
    assert names[::2] == names[1::2]
    assert len(set(names[::2])) == len(names[::2])


@pytest.mark.parametrize(("text", "status"), [(GOOD, 0), (BAD, 7)])
def test_json_lines_parse(case: Case, text: str, status: int) -> None:
    result = case.build(text, "--log-format=json", "--verbosity=debug")
    assert result.returncode == status
    ours = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    events = [message["event"] for message in ours]
    assert events.count("step_started") - events.count("step_ended") == (status != 0)
    assert events[-1] == "summary"
    assert ("failed" in events) == (status != 0)
    phases = [message["name"] for message in ours if message["event"] == "phase"]
    assert {"extract", "run", "snapshot", "compress"} <= set(phases)


def test_output_of_steps_passes_unaltered(case: Case) -> None:
    for flags in ([], ["--log-format=text"], ["--log-format=color"]):
        result = case.build(GOOD, *flags)
        assert "\n<script>alert(1)</script>\nno newline" in result.stderr
        assert "\n::error::not mine\n" in result.stderr
        digest = result.stdout.strip()
        assert f"Pushed {case.registry.host}/report/app@{digest}" in result.stderr


@pytest.mark.parametrize(("text", "status"), [(GOOD, 0), (BAD, 7)])
def test_page(case: Case, text: str, status: int) -> None:
    result = case.build(text, f"--report={case.page}")
    assert result.returncode == status
    html = case.page.read_text()
    page = check_page(html)
    assert "<script" not in html
    assert "<script>alert(1)</script>" in page.text
    assert ("Why it failed" in page.text) == (status != 0)
    assert not page.sources


def test_page_of_a_file_that_is_no_dockerfile(case: Case) -> None:
    result = case.build("FROM scratch\nNONSENSE <b>\n", f"--report={case.page}")
    assert result.returncode == 3
    page = check_page(case.page.read_text())
    assert "line 2 of the Dockerfile" in page.text
    assert "NONSENSE <b>" in page.text


def test_live_progress_leaves_the_output_of_steps_alone(case: Case) -> None:
    text = "FROM busybox\nCOPY big /\nRUN for i in 1 2 3; do echo line $i; sleep 0.3; done; printf end\n"
    (case.context / "Dockerfile").write_text(text)
    (case.context / "big").write_bytes(os.urandom(40_000_000))
    host = case.registry.host
    flags = ["--no-push", f"--insecure-registry={host}", f"--registry-map=docker.io={host}"]
    status, raw = on_a_terminal(["build", str(case.context), *flags], columns=80)
    assert status == 0, raw
    assert "[0/2] stage-0 1/2 COPY big /  compress " in raw
    blanks = " " * 79
    assert f"line 1\r\nline 2\r\nline 3\r\nend{blanks}\r\x1b[K" in raw, raw[raw.index("line 1") - 200 :][:400]
    assert "\nsha256:" in raw


def on_a_terminal(arguments: Sequence[str], *, columns: int) -> tuple[int, str]:
    """Run knarr with a terminal of its own; the result is its status with all that the terminal got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(EXECUTOR), "TERM": "xterm", "CI": "", "NO_COLOR": "1"}
    environment |= {"GITHUB_ACTIONS": "", "GITLAB_CI": ""}
    command = [sys.executable, "-m", "knarr", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        data = b"".join(iter(lambda: read_terminal(ours), b""))
    os.close(ours)
    return process.returncode, data.decode()


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: nobody has the other end any more
        return b""


def test_values_of_build_arguments_are_not_shown(case: Case) -> None:
    flags = ["--build-arg=TOKEN=hunter2", "--verbosity=trace", f"--report={case.page}"]
    text = "FROM busybox\nARG TOKEN\nRUN test -n $TOKEN\n"
    result = case.build(text, *flags, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(case.summary))
    assert result.returncode == 0
    for shown in (result.stderr, result.stdout, case.page.read_text(), case.summary.read_text()):
        assert "hunter2" not in shown
