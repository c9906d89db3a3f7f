"""The tree of errors a build can end with, each class with its exit status.

    KnarrError            1   anything that fits no class below
    |- UsageError         2   the command line or an environment variable
    |- DockerfileError    3   the Dockerfile's text; shows file, line and caret
    |- ContextError       4   the build context: missing or unreadable sources
    |- RegistryError      5   a registry said no, or nothing at all
    |  `- AuthError       6   credentials missing, refused or unreadable
    |- CorruptError       7   bytes that are not what their digest, size or format promises
    |- IsolationError     8   this machine can't do what the build needs
    |- OutputError        9   an output file, directory or tag could not be written
    `- RunError           N   a RUN step failed: the status of its process (128 + signal where killed)

A message says what we were doing, to what, and what came back; `hint` says what to try.
"""

import signal
from dataclasses import dataclass


class KnarrError(Exception):
    """Base of every failure that Knarr expects and explains.

    `line` is that of the instruction which it came up in, 0 where it is about none in particular.
    """

    exit_status = 1
    line = 0

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(KnarrError):
    """The command line or an environment variable is wrong."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A place in a Dockerfile; `line` counts from 1, `column` from 0 and may be unknown."""

    file: str
    line: int
    text: str
    column: int | None = None

    def render(self) -> str:
        """The place, the source line and a caret, three lines at most."""
        shown = self.text.rstrip("\r\n").replace("\t", " ")
        lines = [f"  {self.file}:{self.line}", f"  | {shown}"]
        if self.column is not None:
            lines.append(f"  | {' ' * min(self.column, len(shown))}^")
        return "\n".join(lines)


class DockerfileError(KnarrError):
    """The Dockerfile can't be understood; `location` is None for the file as a whole."""

    exit_status = 3

    def __init__(
        self, message: str, *, location: SourceLocation | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.location = location

    def __str__(self) -> str:
        parts = [self.message]
        if self.location is not None:
            parts.append(self.location.render())
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "\n".join(parts)


class ContextError(KnarrError):
    """The build context, or a source that a COPY or ADD names, is missing or unreadable."""

    exit_status = 4


class RegistryError(KnarrError):
    """A registry refused, failed or could not be reached."""

    exit_status = 5


class AuthError(RegistryError):
    """Credentials are missing, refused or unreadable."""

    exit_status = 6


class CorruptError(KnarrError):
    """Bytes are not what their digest, size or format promises."""

    exit_status = 7


class IsolationError(KnarrError):
    """The machine or container can't do what the build needs."""

    exit_status = 8


class OutputError(KnarrError):
    """An output could not be written; nothing half-written is left."""

    exit_status = 9


class RunError(KnarrError):
    """A RUN step failed; `exit_status` is that of its process, 128 + signal where it was killed.

    `output` has the last lines that it wrote, as far as somebody has read them.
    """

    def __init__(self, message: str, *, status: int, hint: str | None = None, output: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_status = status
        self.output = output


class EndedBySignal(BaseException):
    """A signal asked the program to end; nothing but `main` catches it, so that everything is unwound."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.exit_status = 128 + number
