"""Byte streams that are read in bounded pieces."""

from typing import Protocol

from knarr.errors import CorruptError

PADDING_LIMIT_BYTES = 64 * 1024 * 1024
"""Zeros that may follow a compressed stream."""


class ByteSource(Protocol):
    """What a layer is read from: a file, a response, a decompressor."""

    def read(self, size: int, /) -> bytes:
        """1 to `size` bytes; b"" at the end only."""
        ...


class PiecewiseSource:
    """A ByteSource whose next bytes can be seen before they are taken; it holds about one piece at most."""

    def __init__(self, stream: ByteSource, piece_bytes: int) -> None:
        self._stream = stream
        self._piece_bytes = piece_bytes
        self._held = b""

    def read(self, size: int, /) -> bytes:
        """1 to `size` bytes; b"" at the end only."""
        if not self._held:
            return self._stream.read(size)
        data, self._held = self._held[:size], self._held[size:]
        return data

    def piece(self) -> bytes:
        """The next bytes, as many as are at hand."""
        return self.read(max(self._piece_bytes, len(self._held)))

    def peek(self, size: int) -> bytes:
        """The next `size` bytes without taking them; fewer at the end of the stream."""
        while len(self._held) < size:
            data = self._stream.read(self._piece_bytes)
            if not data:
                break
            self._held += data
        return self._held[:size]

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer at the end of the stream."""
        data = self.peek(size)
        self._held = self._held[size:]
        return data

    def give_back(self, data: bytes) -> None:
        """Put bytes back, to be read again first."""
        self._held = data + self._held

    def expect_zeros(self, after: str) -> None:
        """Read to the end; CorruptError for anything but zeros, or for very many of them."""
        seen = 0
        while data := self.piece():
            seen += len(data)
            if data.strip(b"\0"):
                raise CorruptError(f"there is something else after the end of the {after}")
            if seen > PADDING_LIMIT_BYTES:
                raise CorruptError(f"more than {PADDING_LIMIT_BYTES} zeros follow the end of the {after}")
