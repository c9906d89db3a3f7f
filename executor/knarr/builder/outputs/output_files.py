"""Writes what a build tells the pipeline around it: to files, devices, https URLs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from knarr.builder.outputs.results import BuildResult, ResultText
from knarr.errors import UsageError
from knarr.linux.whole_files import (
    STDOUT,
    append_to_file,
    check_place,
    descriptor_of,
    os_errors,
    write_file,
)
from knarr.registry.client import Client
from knarr.registry.http.locations import redacted
from knarr.registry.transfer.put_file import put_file

_PLAIN_TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A text with its place: an absolute path, or the URL that takes it by PUT."""

    flag: str
    """What asked for it, for messages."""
    place: Path | str
    text: ResultText
    append: bool = False

    @classmethod
    def parse(cls, flag: str, place: str, text: ResultText, *, directory: Path) -> "OutputFile":
        """One whose place is a path, from `directory` where it is relative, or an https URL.

        Raises UsageError for a URL of another scheme.
        """
        scheme, separator, _ = place.partition("://")
        if not separator or not scheme.isalpha():
            return cls(flag, directory / place, text)
        if scheme != "https" or not urlsplit(place).hostname:
            raise UsageError(f"{flag} takes a path or an https URL, got {redacted(place)}")
        return cls(flag, place, text)

    @property
    def path(self) -> Path | None:
        """The path of a place on this machine."""
        return self.place if isinstance(self.place, Path) else None

    @property
    def is_stdout(self) -> bool:
        """Whether it goes to the process's own standard output."""
        return self.path is not None and descriptor_of(self.path) == STDOUT


def check_output_files(files: Iterable[OutputFile]) -> None:
    """Find out before the work what would keep files from being written. Raises OutputError."""
    for file in files:
        if file.path is not None:
            check_place(file.flag, file.path)


def write_output_files(files: Iterable[OutputFile], result: BuildResult, client: Client) -> None:
    """Write each file whole, in order; one with nothing to say is not touched.

    Raises OutputError; files before the one that failed are written then, those behind it are not.
    """
    for file in files:
        text = file.text(result)
        if text is not None:
            _write(file, text.encode(), client)


def _write(file: OutputFile, data: bytes, client: Client) -> None:
    if isinstance(file.place, str):
        put_file(client, file.place, data, media_type=_PLAIN_TEXT)
        return
    with os_errors(f"writing {file.flag} {file.place}"):
        if file.append:
            append_to_file(file.place, data)
        else:
            write_file(file.place, data)
