"""Contents of stored layers, taken out into files on demand."""

import io
import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from knarr.errors import CorruptError
from knarr.layers.sections import stored_parts
from knarr.layers.source import ByteSource
from knarr.layers.tar.sparse import SparseMap

_CHUNK_BYTES = 1024 * 1024
_IN_MEMORY_BYTES = 64 * 1024
"""Contents up to this size are read at once when asked for: /etc/passwd is no reason to write a file."""


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A file's place in the uncompressed tar of a layer."""

    source: Hashable
    offset: int
    size: int
    """Bytes of the file, the holes of a sparse one included."""
    sparse_map: SparseMap | None = None

    @property
    def parts(self) -> SparseMap:
        """Where in the file the stored bytes belong, in the order they are stored."""
        return stored_parts(self.size, self.sparse_map)

    @property
    def end(self) -> int:
        """Where the stored bytes end in the tar."""
        return self.offset + sum(length for _, length in self.parts)


Content = StoredContent | Callable[[], BinaryIO]
"""Where the content of a file is: in a stored layer, or wherever the callable opens it."""

OpenTar = Callable[[Hashable], AbstractContextManager[ByteSource]]
"""Opens the uncompressed tar of a stored layer by the name that `StoredContent.source` gives it."""


class Spool:
    """A directory of contents read from layers.

    The directory is the caller's, who removes it; it is made when the first file is written.
    """

    def __init__(self, directory: Path, open_tar: OpenTar) -> None:
        self._directory = directory
        self._open_tar = open_tar
        self._files: dict[StoredContent, Path] = {}
        self._numbers = itertools.count()

    def fill(self, contents: Iterable[StoredContent]) -> None:
        """Write these to files: each layer is read once, up to the last one wanted of it.

        Raises CorruptError for a layer that ends too early.
        """
        wanted: dict[Hashable, set[StoredContent]] = {}
        for content in contents:
            if content not in self._files:
                wanted.setdefault(content.source, set()).add(content)
        for source, places in wanted.items():
            with self._open_tar(source) as stream:
                position = 0
                for place in sorted(places, key=lambda place: place.offset):
                    _pass(stream, place.offset - position, None)
                    path = self.new_file()
                    with path.open("xb") as out:
                        _write(stream, place, out)
                    self._files[place] = path
                    position = place.end

    def same(self, others: Mapping[str, tuple[StoredContent, Callable[[], BinaryIO]]]) -> set[str]:
        """The keys of those whose stored content is what is opened; nothing is written.

        Each layer is read once, up to the last one wanted of it. Raises CorruptError for a layer that ends
        too early.
        """
        wanted: dict[Hashable, dict[StoredContent, list[str]]] = {}
        for key, (content, _) in others.items():
            wanted.setdefault(content.source, {}).setdefault(content, []).append(key)
        same: set[str] = set()
        for source, places in wanted.items():
            with self._open_tar(source) as stream:
                position = 0
                for place in sorted(places, key=lambda place: place.offset):
                    _pass(stream, place.offset - position, None)
                    with ExitStack() as exits:
                        opened = {key: exits.enter_context(others[key][1]()) for key in places[place]}
                        comparison = _Comparison(opened)
                        _write(stream, place, comparison)
                    same |= comparison.same
                    position = place.end
        return same

    def open(self, content: Content | None) -> BinaryIO:
        """The content, to be closed by the caller; None is that of an empty file."""
        if content is None:
            return io.BytesIO()
        if not isinstance(content, StoredContent):
            return content()
        if content not in self._files and content.size <= _IN_MEMORY_BYTES:
            out = io.BytesIO(bytes(content.size))
            with self._open_tar(content.source) as stream:
                _pass(stream, content.offset, None)
                _write(stream, content, out)
            out.seek(0)
            return out
        self.fill([content])
        return open_file(self._files[content])

    def new_file(self) -> Path:
        """The path of a file that does not exist yet, in the directory."""
        self._directory.mkdir(parents=True, exist_ok=True)
        return self._directory / str(next(self._numbers))


class _Comparison:
    """Takes what is written to it, and finds out which of some streams hold the same."""

    def __init__(self, streams: Mapping[str, BinaryIO]) -> None:
        self._streams = dict(streams)
        self._position = 0

    @property
    def same(self) -> set[str]:
        """The keys of the streams that are the same; asked for at the end."""
        return set(self._streams)

    def write(self, data: bytes, /) -> None:
        for key, stream in list(self._streams.items()):
            if _read_exactly(stream, len(data)) != data:
                del self._streams[key]
        self._position += len(data)

    def seek(self, offset: int, /) -> None:
        """Only forwards: what is passed over are zeros."""
        while self._position < offset:
            self.write(bytes(min(offset - self._position, _CHUNK_BYTES)))

    def truncate(self, size: int, /) -> None:
        """The end of the content, and of each stream that is the same."""
        self.seek(size)
        for key, stream in list(self._streams.items()):
            if stream.read(1):
                del self._streams[key]


def is_same_content(one: BinaryIO, other: BinaryIO) -> bool:
    """Whether two streams hold the same up to their ends."""
    while True:
        data = _read_exactly(one, _CHUNK_BYTES)
        if _read_exactly(other, _CHUNK_BYTES) != data:
            return False
        if not data:
            return True


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    """The next `size` bytes; fewer at the end only, whatever a single read gives."""
    data = stream.read(size)
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def open_file(path: Path) -> BinaryIO:
    """A spooled file, to be closed by the caller."""
    return path.open("rb")


class _Out(Protocol):
    """What a content is written to."""

    def write(self, data: bytes, /) -> object: ...

    def seek(self, offset: int, /) -> object: ...

    def truncate(self, size: int, /) -> object: ...


def _write(stream: ByteSource, place: StoredContent, out: _Out) -> None:
    """Write the file that starts here; what is not stored of it becomes a hole."""
    for start, length in place.parts:
        out.seek(start)
        _pass(stream, length, out)
    out.truncate(place.size)


def _pass(stream: ByteSource, size: int, out: _Out | None) -> None:
    """Read exactly `size` bytes; write them where there is something to write to."""
    while size:
        chunk = stream.read(min(size, _CHUNK_BYTES))
        if not chunk:
            raise CorruptError("reading a layer: it ends in the middle of a file")
        if out is not None:
            out.write(chunk)
        size -= len(chunk)
