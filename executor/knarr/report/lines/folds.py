"""Folds of a CI system's log: what a step prints, behind one line."""

import re
from typing import Protocol

from knarr.report.lines.github import command

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_.-]")


class Folds(Protocol):
    """Marks the beginning and the end of a fold; what it returns is written as it is."""

    def begin(self, name: str, title: str, wall_s: float) -> str:
        """The text that opens a fold; no other fold is open."""
        ...

    def end(self, name: str, wall_s: float) -> str:
        """The text that closes the fold; the line before it may lack its newline."""
        ...

    def before_run(self) -> str:
        """The text before the output of a RUN step's process."""
        ...

    def after_run(self) -> str:
        """The text after the output of the process."""
        ...


class NoFolds:
    """A log without folds; a title is a line like any other."""

    def begin(self, name: str, title: str, wall_s: float) -> str:
        """The text that opens a fold; no other fold is open."""
        return ""

    def end(self, name: str, wall_s: float) -> str:
        """The text that closes the fold."""
        return ""

    def before_run(self) -> str:
        """The text before the output of a RUN step's process."""
        return ""

    def after_run(self) -> str:
        """The text after the output of the process."""
        return ""


class GithubFolds:
    """`::group::`; while a RUN step writes, no workflow command is obeyed: it could be anybody's."""

    def __init__(self, token: str) -> None:
        """`token` is one that no step can guess."""
        self._token = token

    def begin(self, name: str, title: str, wall_s: float) -> str:
        """The text that opens a fold; no other fold is open."""
        return f"{command('group', title)}\n"

    def end(self, name: str, wall_s: float) -> str:
        """The text that closes the fold."""
        return f"{command('endgroup', '')}\n"

    def before_run(self) -> str:
        """The text before the output of a RUN step's process."""
        return f"{command('stop-commands', self._token)}\n"

    def after_run(self) -> str:
        """The text after the output of the process."""
        # A command counts at the start of a line only, and the output may have ended within one.
        return f"\n::{self._token}::\n"


class GitlabFolds:
    """`section_start` and `section_end`, which must stand at the start of a line."""

    def begin(self, name: str, title: str, wall_s: float) -> str:
        """The text that opens a fold; no other fold is open."""
        return f"\x1b[0Ksection_start:{int(wall_s)}:{_section(name)}\r\x1b[0K{title}\n"

    def end(self, name: str, wall_s: float) -> str:
        """The text that closes the fold."""
        return f"\x1b[0Ksection_end:{int(wall_s)}:{_section(name)}\r\x1b[0K\n"

    def before_run(self) -> str:
        """The text before the output of a RUN step's process."""
        return ""

    def after_run(self) -> str:
        """The text after the output of the process."""
        return "\n"


def _section(name: str) -> str:
    return f"knarr_{_NOT_IN_NAMES.sub('_', name)}"
