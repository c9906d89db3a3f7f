"""A write that takes a part of its bytes, as one on a disk that is nearly full."""

import io
from typing import BinaryIO, cast

from knarr.images.store import BlobWriter
from knarr.oci.digest import Digest


class _Slow(io.RawIOBase):
    """Takes three bytes at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        part = bytes(cast(bytes, data))[:3]
        self.taken += part
        return len(part)


def test_short_writes_lose_nothing() -> None:
    file = _Slow()
    writer = BlobWriter(cast(BinaryIO, file), "sha256")
    assert writer.write(b"twelve bytes") == 12
    assert writer.write(bytearray(b"!")) == 1
    assert file.taken == b"twelve bytes!"
    assert (writer.size_bytes, writer.digest) == (13, Digest.of(b"twelve bytes!"))
