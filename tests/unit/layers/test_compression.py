import gzip
import io
import random
import zlib
from collections.abc import Callable

import pytest
import zstandard

from knarr.errors import CorruptError, UsageError
from knarr.layers.compression import (
    Compression,
    CompressionSettings,
    detect_compression,
    new_compressor,
    open_decompressed,
)
from knarr.layers.source import ByteSource

TEXT = b"The quick brown fox\n" * 50_000
NOISE = random.Random(1).randbytes(700_000)


Pack = Callable[[bytes], bytes]


class Dribble:
    """Gives a byte, then two, then three: short reads as a network has them."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)
        self._next = 0

    def read(self, size: int, /) -> bytes:
        self._next = self._next % 3000 + 1
        return self._stream.read(min(size, self._next))


def read_all(source: ByteSource) -> bytes:
    parts = []
    while data := source.read(100_000):
        assert len(data) <= 1024 * 1024
        parts.append(data)
    assert source.read(1) == b""
    return b"".join(parts)


def decompressed(data: bytes) -> bytes:
    return read_all(open_decompressed(io.BytesIO(data)))


def zstd(data: bytes, level: int = 3) -> bytes:
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)


@pytest.mark.parametrize("content", [b"", b"x", TEXT, NOISE], ids=["empty", "byte", "text", "noise"])
@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        zstd,
        lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    ],
    ids=["plain", "gzip", "zstd", "zstd without size"],
)
def test_reads_what_the_usual_tools_write(pack: Pack, content: bytes) -> None:
    packed = pack(content)
    assert decompressed(packed) == content
    assert read_all(open_decompressed(Dribble(packed))) == content


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_reads_concatenated_members_and_zeros_after_them(pack: Pack) -> None:
    packed = pack(b"one ") + pack(b"") + pack(TEXT) + pack(b" three")
    assert decompressed(packed) == b"one " + TEXT + b" three"
    assert decompressed(packed + bytes(10_000)) == b"one " + TEXT + b" three"
    assert read_all(open_decompressed(Dribble(packed + bytes(10)))) == b"one " + TEXT + b" three"


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("junk", [b"x", b"\0\0x", b"\x1f", b"\0\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f"])
def test_refuses_anything_else_after_the_end(pack: Pack, junk: bytes) -> None:
    with pytest.raises(CorruptError):
        decompressed(pack(TEXT) + junk)


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("lost", [1, 4, 5, 8, 9, 100])
def test_refuses_a_cut_stream(pack: Pack, lost: int) -> None:
    with pytest.raises(CorruptError):
        decompressed(pack(NOISE)[:-lost])


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_refuses_changed_bytes(pack: Pack) -> None:
    good = pack(TEXT + NOISE[:1000])
    for position in (3 if pack is zstd else 2, len(good) // 2, len(good) - 3, len(good) - 1):
        bad = bytearray(good)
        bad[position] ^= 0xFF
        with pytest.raises(CorruptError):
            read_all(
                open_decompressed(
                    io.BytesIO(bytes(bad)), compression=Compression.ZSTD if pack is zstd else Compression.GZIP
                )
            )


def test_believes_the_caller_about_the_compression() -> None:
    with pytest.raises(CorruptError, match="not a gzip stream"):
        read_all(open_decompressed(io.BytesIO(b"plain"), compression=Compression.GZIP))
    with pytest.raises(CorruptError, match="not a zstd stream"):
        read_all(open_decompressed(io.BytesIO(b""), compression=Compression.ZSTD))
    packed = gzip.compress(b"x")
    assert read_all(open_decompressed(io.BytesIO(packed), compression=Compression.NONE)) == packed


def test_skips_skippable_frames_wherever_they_are() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (200_000).to_bytes(4, "little") + bytes(200_000)
    assert decompressed(skippable + zstd(b"a") + skippable + zstd(b"b") + skippable) == b"ab"
    with pytest.raises(CorruptError, match="cut off"):
        decompressed(zstd(b"a") + skippable[:-1])


def test_refuses_a_zstd_window_beyond_the_usual_limit() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(b"x" * 1000) + compressor.flush()
    with pytest.raises(CorruptError, match="memory"):
        decompressed(packed)


def test_a_bomb_comes_out_in_pieces() -> None:
    zeros = bytes(1024 * 1024)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bombs = [b"".join([packer.compress(zeros) for _ in range(300)]) + packer.flush()]
    # Blocks of four bytes that each stand for 128 KiB: header of a frame with a window of 128 KiB.
    block = ((128 * 1024) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = ((128 * 1024) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    bombs.append(b"\x28\xb5\x2f\xfd\x00\x38" + block * 2399 + last)
    for bomb in bombs:
        source = open_decompressed(io.BytesIO(bomb))
        total = 0
        while data := source.read(64 * 1024 * 1024):
            assert len(data) <= 1024 * 1024
            total += len(data)
        assert total == 300 * 1024 * 1024


def test_refuses_endless_zeros_after_the_end() -> None:
    class Zeros:
        def __init__(self) -> None:
            self._head = gzip.compress(b"x")

        def read(self, size: int, /) -> bytes:
            head, self._head = self._head, b""
            return head or bytes(size)

    with pytest.raises(CorruptError, match="zeros follow"):
        read_all(open_decompressed(Zeros()))


@pytest.mark.parametrize(
    ("head", "compression"),
    [
        (b"\x1f\x8b\x08\x00", Compression.GZIP),
        (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
        (b"\x50\x2a\x4d\x18", Compression.ZSTD),
        (b"\x5f\x2a\x4d\x18", Compression.ZSTD),
        (b"", Compression.NONE),
        (b"\x28\xb5", Compression.NONE),
        (b"etc/", Compression.NONE),
    ],
)
def test_detects_by_the_first_bytes(head: bytes, compression: Compression) -> None:
    assert detect_compression(head) is compression


@pytest.mark.parametrize(
    "settings",
    [
        CompressionSettings(Compression.NONE),
        *(CompressionSettings(Compression.GZIP, level) for level in (None, 0, 1, 2, 3, 4, 9)),
        *(CompressionSettings(Compression.ZSTD, level) for level in (None, 1, 3, 19)),
    ],
    ids=str,
)
def test_writes_what_it_reads_and_always_the_same(settings: CompressionSettings) -> None:
    def packed() -> bytes:
        compressor = new_compressor(settings)
        return compressor.compress(TEXT) + compressor.compress(NOISE) + compressor.flush()

    data = packed()
    assert data == packed()
    assert decompressed(data) == TEXT + NOISE
    if settings.compression is Compression.GZIP:
        assert data[4:8] == bytes(4), "a time in the header"
        assert data[3] == 0, "a name in the header"
        assert gzip.decompress(data) == TEXT + NOISE


@pytest.mark.parametrize(
    ("compression", "level"), [(Compression.GZIP, 10), (Compression.GZIP, -1), (Compression.ZSTD, 0)]
)
def test_refuses_a_level_that_the_format_has_not(compression: Compression, level: int) -> None:
    with pytest.raises(UsageError, match="compression level"):
        new_compressor(CompressionSettings(compression, level))
