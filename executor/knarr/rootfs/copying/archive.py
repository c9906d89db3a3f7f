"""A tar archive that ADD unpacks."""

import bz2
import io
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, Protocol

from knarr.errors import CorruptError
from knarr.layers.compression import open_decompressed
from knarr.layers.entry import Entry, Kind
from knarr.layers.paths import join, parent_of
from knarr.layers.sections import open_member
from knarr.layers.source import ByteSource
from knarr.layers.spool import Spool, open_file
from knarr.layers.tar.header import BLOCK_BYTES, parse_header
from knarr.layers.tar.read import TarMember, TarReader
from knarr.rootfs.inode import layer_xattrs
from knarr.rootfs.layer_draft import LayerDraft, Owner
from knarr.rootfs.tree import resolve_links

_CHUNK_BYTES = 1024 * 1024
_BZIP2_MAGIC = b"BZh"
_XZ_MAGIC = b"\xfd7zXZ\0"
_PACKED_MAGICS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", _BZIP2_MAGIC, _XZ_MAGIC)

OpenContent = Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Archive:
    """A plain tar that can be read anywhere."""

    open_tar: OpenContent

    def members(self) -> Iterator[TarMember]:
        """The entries in the order of the archive. Raises CorruptError."""
        with self.open_tar() as stream:
            reader = TarReader(stream, whiteouts=False)
            for entry in reader:
                yield TarMember(entry, reader.data_offset, reader.sparse_map)


def open_archive(open_content: OpenContent, spool: Spool) -> Archive | None:
    """The archive that a file is by its content; None where it is none.

    Plain tar, and tar in gzip, bzip2, xz or zstd. A packed one is written out to the spool. What
    `open_content` gives must be seekable. A file that starts like an archive and is damaged before its end
    raises CorruptError.
    """
    with open_content() as stream:
        head = stream.read(BLOCK_BYTES)
        stream.seek(0)
        if not head.startswith(_PACKED_MAGICS):
            return Archive(open_content) if _is_header(head) else None
        try:
            plain = _decompressed(stream, head)
            first = _block(plain)
        except CorruptError:
            return None
        if not _is_header(first):
            return None
        path = spool.new_file()
        with path.open("xb") as out:
            # No further than to the archive's end: what is behind it is nobody's, be it packed well or not.
            for _ in TarReader(_Copied(first, plain, out), whiteouts=False):
                pass
    return Archive(partial(open_file, path))


def plan_archive(archive: Archive, plan: LayerDraft, dest: str, *, owner: Owner | None = None) -> None:
    """Put the entries of an archive below `dest`, a directory of the plan, as `tar -x` would.

    Links on the way are followed within `dest` only. Directories that are there take the archive's owner
    and mode; anything else is replaced. With `owner`, all entries are that owner's. Raises CorruptError for
    an archive that can't be believed and for a hard link to nothing.
    """
    for member in archive.members():
        entry = member.entry
        if not entry.path:
            continue
        path = join(dest, _resolve(plan, dest, entry.path, follow_last=entry.kind is Kind.DIRECTORY))
        if path == dest:
            continue
        plan.make_directories(parent_of(path))
        if entry.kind is Kind.HARDLINK:
            target = join(dest, _resolve(plan, dest, entry.link_target, follow_last=False))
            if not plan.link(path, target, _owned(entry, owner)):
                raise CorruptError(
                    f"unpacking an archive: {entry.path!r} is a hard link to {entry.link_target!r}, no file"
                )
            continue
        plan.put(_owned(replace(entry, path=path), owner), partial(open_member, archive.open_tar, member))


def _resolve(plan: LayerDraft, dest: str, path: str, *, follow_last: bool) -> str:
    def lookup(inside: str) -> Entry | None:
        return plan.lookup(join(dest, inside))

    return resolve_links(lookup, path, follow_last=follow_last)


def _owned(entry: Entry, owner: Owner | None) -> Entry:
    entry = replace(entry, xattrs=layer_xattrs(entry.xattrs))
    return entry if owner is None else replace(entry, uid=owner.uid, gid=owner.gid)


def _is_header(block: bytes) -> bool:
    if len(block) < BLOCK_BYTES or not block.strip(b"\0"):
        return False
    try:
        parse_header(block)
    except CorruptError:
        return False
    return True


def _block(source: ByteSource) -> bytes:
    """The first block, or what there is of it."""
    block = b""
    while len(block) < BLOCK_BYTES and (data := source.read(BLOCK_BYTES - len(block))):
        block += data
    return block


class _Copied:
    """A stream, some bytes of which were read before, that is written to a file as it is read."""

    def __init__(self, head: bytes, stream: ByteSource, out: BinaryIO) -> None:
        self._head = head
        self._stream = stream
        self._out = out

    def read(self, size: int, /) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        data = data or self._stream.read(size)
        self._out.write(data)
        return data


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Unpacked:
    """A bzip2 or xz stream, or several in a row, in bounded pieces."""

    def __init__(self, stream: BinaryIO, make: Callable[[], _Decompressor], name: str) -> None:
        self._stream = stream
        self._make = make
        self._name = name
        self._current = make()

    def read(self, size: int, /) -> bytes:
        try:
            while True:
                if self._current.eof and not self._next_stream():
                    return b""
                data = self._decompress(size)
                if data:
                    return data
        except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
            raise CorruptError(f"the {self._name} data is damaged: {error}") from error

    def _decompress(self, size: int) -> bytes:
        fed = self._stream.read(_CHUNK_BYTES) if self._current.needs_input else b""
        if not fed and self._current.needs_input:
            raise CorruptError(f"the {self._name} data is cut off")
        return self._current.decompress(fed, size)

    def _next_stream(self) -> bool:
        """Go on with what follows; trailing zeros are padding."""
        rest = self._current.unused_data.lstrip(b"\0")
        while not rest:
            rest = self._stream.read(_CHUNK_BYTES)
            if not rest:
                return False
            rest = rest.lstrip(b"\0")
        self._current = self._make()
        self._stream.seek(-len(rest), io.SEEK_CUR)
        return True


def _xz() -> _Decompressor:
    # An archive may ask for a dictionary of 1.5 GiB to be unpacked; xz -9 needs 65 MiB.
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 * 1024 * 1024)


def _decompressed(stream: BinaryIO, head: bytes) -> ByteSource:
    if head.startswith(_BZIP2_MAGIC):
        return _Unpacked(stream, bz2.BZ2Decompressor, "bzip2")
    if head.startswith(_XZ_MAGIC):
        return _Unpacked(stream, _xz, "xz")
    return open_decompressed(stream)
