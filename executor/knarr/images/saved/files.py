"""Files of a saved image: a directory, or the members of an uncompressed tarball."""

import io
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from knarr.errors import CorruptError, UsageError
from knarr.layers.compression import Compression, detect_compression
from knarr.layers.entry import Entry, Kind
from knarr.layers.tar.read import read_members

_MAX_LINKS = 8


class SavedFiles(Protocol):
    """Files by their names: paths in posix form, relative, without dots."""

    @property
    def path(self) -> Path:
        """Where they are, for messages."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A file from its start; the caller closes it. Raises CorruptError where it isn't there."""
        ...


def open_saved_files(path: Path) -> SavedFiles:
    """The files at a path. Raises UsageError where they can't be read, CorruptError for a bad tarball."""
    try:
        return DirectoryFiles(path) if path.is_dir() else ArchiveFiles.read(path)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class DirectoryFiles:
    """Files below a directory."""

    path: Path

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def open(self, name: str) -> BinaryIO:
        """A file from its start; the caller closes it. Raises CorruptError where it can't be read."""
        try:
            return (self.path / name).open("rb")
        except OSError as error:
            raise CorruptError(f"{self.path}: can't read {name}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ArchiveFiles:
    """Members of a tarball, read in place."""

    path: Path
    _places: Mapping[str, _Place]

    @classmethod
    def read(cls, path: Path) -> "ArchiveFiles":
        """Find the members. Raises OSError; UsageError for a packed tarball, CorruptError for a bad one."""
        places: dict[str, _Place] = {}
        links: dict[str, str] = {}
        with path.open("rb") as file:
            if detect_compression(file.peek(4)) is not Compression.NONE:
                raise UsageError(
                    f"{path} is compressed as a whole", hint="unpack it first: gunzip, or zstd -d"
                )
            for member in read_members(file, whiteouts=False):
                entry = member.entry
                places.pop(entry.path, None)
                links.pop(entry.path, None)
                if entry.kind is Kind.FILE and member.sparse_map is None:
                    places[entry.path] = _Place(member.data_offset, entry.size)
                elif entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
                    links[entry.path] = _target(entry)
        return cls(path, {**places, **_linked(places, links)})

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._places

    def open(self, name: str) -> BinaryIO:
        """A file from its start; the caller closes it. Raises CorruptError where it isn't there."""
        place = self._places.get(name)
        if place is None:
            raise CorruptError(f"{self.path}: there is no {name[:200]!r} in the tarball")
        try:
            return cast(BinaryIO, _Slice(self.path.open("rb"), place))
        except OSError as error:
            raise CorruptError(f"can't read {self.path}: {error.strerror}") from error


class _Slice(io.RawIOBase):
    def __init__(self, file: BinaryIO, place: _Place) -> None:
        super().__init__()
        self._file = file
        self._left = place.size_bytes
        file.seek(place.offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _target(entry: Entry) -> str:
    """What a link stands for: docker's older tarballs have a layer that comes twice as a link."""
    if entry.kind is Kind.HARDLINK:
        return entry.link_target
    return posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.link_target))


def _linked(places: Mapping[str, _Place], links: Mapping[str, str]) -> dict[str, _Place]:
    found = {}
    for name in links:
        target = name
        for _ in range(_MAX_LINKS):
            target = links.get(target, target)
        if target in places:
            found[name] = places[target]
    return found
