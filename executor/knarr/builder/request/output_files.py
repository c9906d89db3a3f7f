"""Files that a build is asked to write about its result."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from knarr.builder.request.results import ResultText
from knarr.errors import UsageError
from knarr.linux.whole_files import STDOUT, descriptor_of
from knarr.registry.http.locations import redacted


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
