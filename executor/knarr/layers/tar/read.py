"""Checked reading of tar archives, in one pass over a stream.

What an archive says is believed only where all readers agree: names are normalised, headers verified, and
whatever could be understood in two ways raises CorruptError (image-spec layer.md; POSIX pax; GNU tar manual).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from knarr.errors import CorruptError
from knarr.layers.entry import NO_XATTRS, Entry, Kind
from knarr.layers.source import ByteSource
from knarr.layers.tar.extension import Extension
from knarr.layers.tar.header import (
    BLOCK_BYTES,
    MAX_EXTENSION_BYTES,
    MAX_ID,
    MAX_MAJOR,
    MAX_MINOR,
    RawHeader,
    parse_header,
)
from knarr.layers.tar.names import MAX_PATH_BYTES, check_whiteout, is_aufs_metadata, parse_path, show
from knarr.layers.tar.sparse import SparseMap, check_map, read_old_gnu

_CHUNK_BYTES = 512 * 1024
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_NS = 10**9
_MAX_TIME_NS = 2**63
_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_LINKS = (Kind.HARDLINK, Kind.SYMLINK)
_EXTENSION_FLAGS = frozenset((b"x", b"g", b"L", b"K"))


@dataclass(frozen=True, slots=True)
class TarLimits:
    """What an archive may ask for before CorruptError ends it."""

    entries: int = 2_000_000
    extension_bytes: int = MAX_EXTENSION_BYTES
    sparse_file_bytes: int = 64 * 1024**3
    """Size of a sparse file, holes included: it costs the archive nothing."""


DEFAULT_LIMITS = TarLimits()


@dataclass(frozen=True, slots=True)
class TarMember:
    """An entry with the place of its content in the plain tar stream.

    A sparse file's content is its stored parts, one after the other from `data_offset` on.
    """

    entry: Entry
    data_offset: int
    sparse_map: SparseMap | None = None


class TarReader:
    """Iterates over the entries; `chunks` or `read` give the content of the one that came last.

    Content that isn't asked for is skipped. With `whiteouts` (the archive is a layer) markers are checked and
    come as a FILE whatever type they have, and what aufs left in a root is left out; otherwise a name with
    `.wh.` means nothing. What follows the end of the archive, be it another one, is left in the stream, which
    stays the caller's to close.
    """

    def __init__(
        self, stream: ByteSource, *, whiteouts: bool = True, limits: TarLimits = DEFAULT_LIMITS
    ) -> None:
        self._stream = stream
        self.whiteouts = whiteouts
        """Whether names that start with `.wh.` are whiteouts."""
        self._limits = limits
        self._buffer = b""
        self._view = memoryview(b"")
        self._position = 0
        self._buffer_offset = 0
        self._left = 0
        self._padding = 0
        self._headers_seen = 0
        self._ended = False
        self.sparse_map: SparseMap | None = None
        """Which parts of the current entry `chunks` gives, where the archive stored it as sparse."""

    @property
    def data_offset(self) -> int:
        """Where the unread content of the current entry is in the stream."""
        return self._buffer_offset + self._position

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        while True:
            if self._left or self._padding:
                self._skip(self._left + self._padding)
                self._left = self._padding = 0
            block = self._next_block()
            if block is None:
                raise StopIteration
            header = parse_header(block)
            extension = None
            if header.flag in _EXTENSION_FLAGS:
                header, extension, block = self._read_extensions(header, block)
            entry = self._entry(header, extension, block)
            if entry is not None:
                return entry

    def chunks(self) -> Iterator[memoryview]:
        """The stored bytes of the current entry, in pieces of 1 MiB at most, each valid until the next."""
        while self._left:
            if not self._available(1):
                raise CorruptError("an archive is cut off")
            have = len(self._buffer) - self._position
            taken = min(have, self._left)
            piece = self._view[self._position : self._position + taken]
            self._position += taken
            self._left -= taken
            yield piece

    def take_whole(self) -> memoryview | None:
        """The content of the current entry, if all of it is in the buffer: the quick way for most files."""
        size = self._left
        start = self._position
        if size > len(self._buffer) - start:
            return None
        self._left = 0
        self._position = start + size
        return self._view[start : start + size]

    def read(self, size: int, /) -> bytes:
        """Up to `size` stored bytes of the current entry; b"" at its end."""
        size = min(size, self._left, _CHUNK_BYTES)
        self._left -= size
        return self._take(size)

    def _next_block(self) -> bytes | None:
        if self._ended:
            return None
        self._headers_seen += 1
        if self._headers_seen > self._limits.entries:
            raise CorruptError(f"an archive has more than {self._limits.entries} entries")
        start = self._position
        self._position = end = start + BLOCK_BYTES
        if end <= len(self._buffer):
            block = self._buffer[start:end]
        else:
            self._position = start
            if not self._available(1):
                # Go, GNU tar and Python all take an archive without end blocks; the digest shows a loss.
                return None
            block = self._take(BLOCK_BYTES)
        if block == _ZERO_BLOCK:
            self._read_end()
            return None
        return block

    def _read_end(self) -> None:
        """Two blocks of zeros are the end, for Go as for GNU tar: what follows is not looked at."""
        self._ended = True
        if self._available(1) and self._take(BLOCK_BYTES) != _ZERO_BLOCK:
            raise CorruptError("an archive goes on after a block of zeros")

    def _read_extensions(self, header: RawHeader, block: bytes) -> tuple[RawHeader, Extension, bytes]:
        extension = Extension()
        while header.flag in _EXTENSION_FLAGS:
            if not 0 <= header.size <= self._limits.extension_bytes:
                raise CorruptError(f"an archive has an extended header of {header.size} bytes")
            extension.add(header.flag, self._take(header.size))
            self._skip(-header.size % BLOCK_BYTES)
            following = self._next_block()
            if following is None:
                if extension.is_global_only:
                    raise StopIteration
                raise CorruptError("an archive ends after an extended header")
            block = following
            header = parse_header(block)
        return extension.apply(header), extension, block

    def _entry(self, header: RawHeader, extension: Extension | None, block: bytes) -> Entry | None:
        """The entry; None for what aufs left."""
        raw, mode, uid, gid, size, mtime_s, flag, link, device = header
        kind = _KINDS.get(flag)
        if kind is None:
            raise CorruptError(f"an archive has {show(raw)} of an unknown type: {flag!r}")
        path = parse_path(raw)
        if flag == b"\0" and raw.endswith(b"/"):
            kind = Kind.DIRECTORY
        if not 0 <= uid <= MAX_ID or not 0 <= gid <= MAX_ID or mode < 0 or size < 0:
            raise CorruptError(f"an archive has {show(raw)} with a number out of range")
        if device != (0, 0) and not (0 <= device[0] <= MAX_MAJOR and 0 <= device[1] <= MAX_MINOR):
            raise CorruptError(
                f"an archive has the device {show(raw)} with a number out of range: {device[0]}:{device[1]}",
                hint=f"Linux has devices up to {MAX_MAJOR}:{MAX_MINOR}",
            )
        self.sparse_map = None
        if kind is not Kind.FILE:
            size = 0
        elif size or flag == b"S" or extension is not None:
            size = self._open_content(size, flag, extension, block)
        if not path and kind is not Kind.DIRECTORY:
            raise CorruptError(f"an archive has a {kind.value} in place of the root directory")
        if self.whiteouts and ".wh." in path:
            if is_aufs_metadata(path):
                return None
            if check_whiteout(path):
                kind = Kind.FILE
        mtime_ns = mtime_s * _NS if extension is None else extension.mtime_ns(mtime_s)
        return Entry(
            path,
            kind,
            mode & 0o7777,
            uid,
            gid,
            # As containerd does: what a kernel can't keep, or a time before 1970, is the epoch.
            mtime_ns if 0 <= mtime_ns < _MAX_TIME_NS else 0,
            size,
            _link_target(kind, link) if kind in _LINKS else "",
            device,
            NO_XATTRS if extension is None else extension.xattrs,
        )

    def _open_content(self, size: int, flag: bytes, extension: Extension | None, block: bytes) -> int:
        """Make `size` stored bytes the current content; the size of the file, holes included."""
        self._padding = -size % BLOCK_BYTES
        if flag == b"S":
            file_bytes, sparse_map = read_old_gnu(block, self._take)
        elif extension is not None and extension.is_sparse:
            file_bytes, sparse_map, used = extension.read_sparse_map(self._take)
            size -= used
        else:
            self._left = size
            return size
        check_map(sparse_map, size=file_bytes, stored=size)
        if file_bytes > self._limits.sparse_file_bytes:
            raise CorruptError(f"an archive has a sparse file of {file_bytes} bytes")
        self._left = size
        self.sparse_map = sparse_map
        return file_bytes

    def _available(self, size: int) -> bool:
        return len(self._buffer) - self._position >= size or self._load(size)

    def _load(self, size: int) -> bool:
        """Have at least `size` bytes in the buffer; False where the stream ends before."""
        self._buffer_offset += self._position
        rest = self._buffer[self._position :]
        parts = [rest] if rest else []
        have = len(rest)
        while have < size and (data := self._stream.read(_CHUNK_BYTES)):
            parts.append(data)
            have += len(data)
        self._buffer = parts[0] if len(parts) == 1 else b"".join(parts)
        self._view = memoryview(self._buffer)
        self._position = 0
        return have >= size

    def _take(self, size: int) -> bytes:
        if not self._available(size):
            raise CorruptError("an archive is cut off")
        start = self._position
        self._position = start + size
        return self._buffer[start : start + size]

    def _skip(self, size: int) -> None:
        while size > (have := len(self._buffer) - self._position):
            size -= have
            self._position += have
            if not self._load(1):
                raise CorruptError("an archive is cut off")
        self._position += size


def _link_target(kind: Kind, link: bytes) -> str:
    if kind is Kind.HARDLINK:
        target = parse_path(link)
        if not target:
            raise CorruptError("an archive has a hard link to the root directory")
        return target
    if not 0 < len(link) <= MAX_PATH_BYTES:
        raise CorruptError(f"an archive has a symbolic link to a name of {len(link)} bytes")
    return link.decode("utf-8", "surrogateescape")


def read_members(
    stream: ByteSource, *, whiteouts: bool = True, limits: TarLimits = DEFAULT_LIMITS
) -> Iterator[TarMember]:
    """All entries with the places of their content, which is skipped: what an index of a layer needs."""
    reader = TarReader(stream, whiteouts=whiteouts, limits=limits)
    for entry in reader:
        yield TarMember(entry, reader.data_offset, reader.sparse_map)
