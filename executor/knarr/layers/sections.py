"""Contents inside a plain tar file."""

import io
from collections.abc import Callable
from typing import BinaryIO

from knarr.errors import CorruptError
from knarr.layers.tar.read import TarMember
from knarr.layers.tar.sparse import SparseMap


def stored_parts(size: int, sparse_map: SparseMap | None) -> SparseMap:
    """The parts of a file that the archive stores one after the other: one part unless the file is sparse."""
    return ((0, size),) if sparse_map is None else sparse_map


def open_member(open_tar: Callable[[], BinaryIO], member: TarMember) -> BinaryIO:
    """The content of a member of a seekable tar, the holes of a sparse one as zeros; the caller closes it."""
    return io.BufferedReader(_Section(open_tar(), member))


class _Section(io.RawIOBase):
    """Reads a member from front to back."""

    def __init__(self, tar: BinaryIO, member: TarMember) -> None:
        self._tar = tar
        self._size = member.entry.size
        self._parts = iter(stored_parts(self._size, member.sparse_map))
        self._position = 0
        self._next_start, self._next_end = 0, 0
        tar.seek(member.data_offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        if self._position >= self._next_end:
            self._next_start, length = next(self._parts, (self._size, 0))
            self._next_end = self._next_start + length
        if self._position < self._next_start:
            count = min(len(buffer), self._next_start - self._position)
            buffer[:count] = bytes(count)
        elif not (count := min(len(buffer), self._next_end - self._position)):
            return 0
        else:
            data = self._tar.read(count)
            if not data:
                raise CorruptError("reading an archive: it ends in the middle of a file")
            count = len(data)
            buffer[:count] = data
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._tar.close()
        super().close()
