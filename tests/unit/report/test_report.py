"""What a build prints, as golden texts."""

import json
from pathlib import Path

import pytest

from knarr.cli.flags.kinds import ON
from knarr.cli.flags.logging import LogFlags
from knarr.errors import UsageError
from knarr.progress import Failed, Note, StepStarted
from support.places import DATA
from support.report_events import ERROR, FAILING, NESTED, SUCCEEDING, Story
from support.report_replay import Replay, Screen

GOLDEN = DATA / "report"
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/work"}
GITLAB = {"GITLAB_CI": "true"}

CASES = {
    "plain": (LogFlags(), {}, SUCCEEDING, None),
    "debug": (LogFlags(verbosity="debug"), {}, SUCCEEDING, None),
    "warn": (LogFlags(verbosity="warn"), GITHUB, SUCCEEDING, None),
    "color": (LogFlags(log_format="color"), {}, SUCCEEDING, None),
    "color-timestamp": (LogFlags(log_format="color", log_timestamp=ON), {"NO_COLOR": "1"}, FAILING, ERROR),
    "text": (LogFlags(log_format="text"), GITHUB, SUCCEEDING, None),
    "json": (LogFlags(log_format="json"), GITHUB, SUCCEEDING, None),
    "json-failed": (LogFlags(log_format="json"), {}, FAILING, ERROR),
    "github": (LogFlags(), GITHUB, SUCCEEDING, None),
    "github-failed": (LogFlags(), GITHUB, FAILING, ERROR),
    "github-nested": (LogFlags(ci="github"), {}, NESTED, None),
    "gitlab": (LogFlags(), GITLAB, SUCCEEDING, None),
    "gitlab-failed": (LogFlags(ci="gitlab"), GITHUB, FAILING, ERROR),
    "no-folds": (LogFlags(ci="none"), GITHUB, FAILING, ERROR),
}


def legible(text: str) -> str:
    """The text with control characters as the golden files have them."""
    return text.replace("\x1b", "␛").replace("\r", "␍")


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    flags, environment, story, error = CASES[name]
    printed = legible(Replay(flags, environment).tell(story, error))
    assert printed == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", ["json", "json-failed"])
def test_json_has_one_object_a_line(name: str) -> None:
    lines = (GOLDEN / f"{name}.txt").read_text().splitlines()
    messages = [json.loads(line) for line in lines if line]
    assert all({"level", "msg", "time", "event"} <= set(message) for message in messages)
    assert messages[-1]["event"] == "summary"


@pytest.mark.parametrize("name", ["github", "github-failed", "github-nested"])
def test_github_groups_are_balanced(name: str) -> None:
    is_open = is_stopped = False
    for line in (GOLDEN / f"{name}.txt").read_text().splitlines():
        assert not line.startswith("::endgroup::") or is_open
        assert not line.startswith("::group::") or not is_open
        is_open = (is_open or line.startswith("::group::")) and not line.startswith("::endgroup::")
        is_stopped = (is_stopped or line == "::stop-commands::TOKEN") and line != "::TOKEN::"
    assert not is_open
    assert not is_stopped


def test_nothing_is_printed_while_a_process_writes() -> None:
    printed = Replay().tell(SUCCEEDING)
    assert printed.index("said while a process writes") > printed.index("pulled sha256")
    replay = Replay(environment=GITHUB)
    text = replay.tell(FAILING, ERROR)
    assert "::stop-commands::TOKEN\n\n::TOKEN::\n[   5.0s] said while" in text


@pytest.mark.parametrize("flags", [LogFlags(), LogFlags(log_format="color"), LogFlags(verbosity="debug")])
def test_hostile_text_moves_no_cursor_and_is_no_command(flags: LogFlags) -> None:
    printed = Replay(flags, {**GITHUB, "NO_COLOR": "1"}).tell(FAILING, ERROR)
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "##[" not in printed


def test_credentials_of_urls_are_not_printed() -> None:
    story: Story = [
        (0.0, Note("can't fetch https://user:hunter2@example.com/x")),
        (0.0, StepStarted("0/1", "build", 1, 1, "ADD https://hunter2@example.com/x /")),
        (0.0, Failed("ssh://git:hunter2@example.com failed")),
    ]
    for flags in (LogFlags(), LogFlags(log_format="json", verbosity="trace")):
        assert "hunter2" not in Replay(flags).tell(story)


def test_colors_on_a_terminal_only() -> None:
    plain = LogFlags(progress="plain")
    assert "\x1b[33mwarning: " in Replay(plain, stream=Screen()).tell(SUCCEEDING)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        text = Replay(plain, environment, Screen()).tell(SUCCEEDING)
        assert text == (GOLDEN / "plain.txt").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (LogFlags(verbosity="loud"), "not a log level"),
        (LogFlags(log_format="xml"), "not a valid log format"),
        (LogFlags(ci="jenkins"), "--ci takes"),
        (LogFlags(progress="fast"), "--progress takes"),
    ],
)
def test_wrong_flags(flags: LogFlags, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Replay(flags).tell([])


def test_no_build_no_summary(tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    error = UsageError("there is nowhere for the image to go")
    replay = Replay(environment={**GITHUB, "GITHUB_STEP_SUMMARY": str(summary)})
    assert (
        replay.tell([], error) == "::error title=knarr build failed::there is nowhere for the image to go\n"
    )
    assert not summary.exists()
