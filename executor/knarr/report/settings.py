"""Flags and environment as settings of what a build shows."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TextIO

from knarr.errors import UsageError
from knarr.report.lines.formats import LineFormat, parse_format
from knarr.report.lines.levels import RANKS, parse_verbosity

Ci = Literal["github", "gitlab", "none"]

_CI: Mapping[str, Ci] = {"github": "github", "gitlab": "gitlab", "none": "none"}
_PROGRESS = ("auto", "plain", "tty")
_FOLDED = ("plain", "color")
"""Formats that people read; lines that are none of theirs would break the others."""


class Choice(Protocol):
    """A flag that is on or off."""

    @property
    def on(self) -> bool:
        """Whether it is on."""
        ...


class LogChoices(Protocol):
    """What a user says about the log, each value as text."""

    @property
    def verbosity(self) -> str:
        """A level's name."""
        ...

    @property
    def log_format(self) -> str:
        """plain, color, text or json."""
        ...

    @property
    def log_timestamp(self) -> Choice:
        """Whether lines have the time of day."""
        ...

    @property
    def progress(self) -> str:
        """auto, plain or tty."""
        ...

    @property
    def ci(self) -> str:
        """auto, github, gitlab or none."""
        ...

    @property
    def report(self) -> str:
        """A path, or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What is printed how, and what is written beside."""

    rank: int
    line_format: LineFormat
    is_json: bool
    ci: Ci
    """Whose folds and notes are printed."""
    is_live: bool
    job_summary: Path | None
    workspace: str
    """The directory that notes name files relative to."""
    page: Path | None

    @classmethod
    def of(cls, flags: LogChoices, environment: Mapping[str, str], stream: TextIO) -> "ReportSettings":
        """The settings for a stream. Raises UsageError."""
        rank = parse_verbosity(flags.verbosity)
        is_terminal = stream.isatty() and environment.get("TERM", "") != "dumb"
        is_colorless = bool(environment.get("NO_COLOR"))
        line_format = parse_format(
            flags.log_format,
            has_timestamp=flags.log_timestamp.on,
            has_color=is_terminal and not is_colorless,
            is_colorless=is_colorless,
        )
        ci = _ci(flags.ci, environment)
        is_read = flags.log_format in _FOLDED
        summary = environment.get("GITHUB_STEP_SUMMARY") if ci == "github" else None
        page = flags.report
        return cls(
            rank=rank,
            line_format=line_format,
            is_json=flags.log_format == "json",
            ci=ci if is_read else "none",
            is_live=is_read
            and rank <= RANKS["info"]
            and _is_live(flags.progress, environment, is_terminal=is_terminal),
            job_summary=Path(summary) if summary else None,
            workspace=environment.get("GITHUB_WORKSPACE", ""),
            page=Path(os.path.abspath(page)) if page else None,
        )


def _ci(choice: str, environment: Mapping[str, str]) -> Ci:
    if choice != "auto":
        if choice not in _CI:
            raise UsageError(f"--ci takes auto, {', '.join(_CI)}, not {choice!r}")
        return _CI[choice]
    if environment.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "gitlab" if environment.get("GITLAB_CI") else "none"


def _is_live(choice: str, environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    if choice not in _PROGRESS:
        raise UsageError(f"--progress takes {', '.join(_PROGRESS)}, not {choice!r}")
    if choice != "auto":
        return choice == "tty"
    return is_terminal and not environment.get("CI")
