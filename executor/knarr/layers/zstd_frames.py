"""Reading of zstd frames block by block (RFC 8878, section 3.1).

libzstd expands four bytes to 128 KiB where it is told so, and python-zstandard's readers take a cut stream
for a finished one. So the blocks are counted here: a few are expanded at a time, and a frame ends where it
says it does.
"""

from typing import Protocol

import zstandard

from knarr.errors import CorruptError
from knarr.layers.source import PiecewiseSource

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGICS = frozenset(bytes([0x50 + nibble, 0x2A, 0x4D, 0x18]) for nibble in range(16))
MAX_WINDOW_BYTES = 128 * 1024 * 1024
"""What the zstd tool itself refuses to exceed unless told otherwise."""

_BLOCKS_AT_ONCE = 8
_MAX_BLOCK_BYTES = 128 * 1024
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE = 1
_RESERVED = 3


class _Frame(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class ZstdReader:
    """Frames one after the other, as one stream; at most 1 MiB comes out of one step."""

    def __init__(self, source: PiecewiseSource) -> None:
        self._source = source
        self._context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        self._frame: _Frame | None = None
        self._has_checksum = False
        self._started = False
        self._out = b""

    def read(self, size: int, /) -> bytes:
        """1 to `size` bytes; b"" at the end only, CorruptError for damage."""
        while not self._out:
            if self._frame is None and not self._next_frame():
                return b""
            if self._frame is not None:
                self._out = self._expand_blocks(self._frame)
        data, self._out = self._out[:size], self._out[size:]
        return data

    def _next_frame(self) -> bool:
        magic = self._source.peek(4)
        if magic in SKIPPABLE_MAGICS:
            self._skip_frame()
            return True
        if magic == ZSTD_MAGIC:
            self._open_frame()
            return True
        if not self._started:
            raise CorruptError("not a zstd stream")
        self._source.expect_zeros("zstd data")
        return False

    def _skip_frame(self) -> None:
        self._started = True
        left = int.from_bytes(self._take(8)[4:], "little")
        while left:
            skipped = self._source.read(min(left, _MAX_BLOCK_BYTES))
            if not skipped:
                raise CorruptError("the zstd data is cut off")
            left -= len(skipped)

    def _open_frame(self) -> None:
        self._started = True
        start = self._take(5)
        descriptor = start[4]
        single_segment = bool(descriptor & 0x20)
        content_size = _CONTENT_SIZE_BYTES[descriptor >> 6] or (1 if single_segment else 0)
        rest = (0 if single_segment else 1) + _DICTIONARY_ID_BYTES[descriptor & 3] + content_size
        self._has_checksum = bool(descriptor & 4)
        self._frame = self._context.decompressobj()
        self._expand(self._frame, start + self._take(rest))

    def _expand_blocks(self, frame: _Frame) -> bytes:
        parts: list[bytes] = []
        last = False
        while not last and len(parts) < 2 * _BLOCKS_AT_ONCE:
            header = self._take(3)
            fields = int.from_bytes(header, "little")
            last, kind, size = bool(fields & 1), (fields >> 1) & 3, fields >> 3
            if kind == _RESERVED or size > _MAX_BLOCK_BYTES:
                raise CorruptError("the zstd data is damaged: a block has an impossible header")
            parts += (header, self._take(1 if kind == _RLE else size))
        if last and self._has_checksum:
            parts.append(self._take(4))
        data = self._expand(frame, b"".join(parts))
        if frame.eof != last:
            raise CorruptError("the zstd data is damaged: a frame does not end where its last block does")
        if last:
            self._frame = None
        return data

    def _expand(self, frame: _Frame, data: bytes) -> bytes:
        try:
            return frame.decompress(data)
        except zstandard.ZstdError as error:
            raise CorruptError(f"the zstd data is damaged or needs too much memory: {error}") from error

    def _take(self, size: int) -> bytes:
        data = self._source.take(size)
        if len(data) < size:
            raise CorruptError("the zstd data is cut off")
        return data
