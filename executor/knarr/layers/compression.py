"""Compression of layers (image-spec layer.md; RFC 1952; RFC 8878).

What is read is never trusted: output comes in bounded pieces however well the input was packed, a damaged or
cut stream raises CorruptError, and so does anything but zeros after the last gzip member or zstd frame.
"""

import enum
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, cast

import zstandard
from isal import igzip_lib, isal_zlib

from knarr.errors import CorruptError, UsageError
from knarr.layers.source import ByteSource, PiecewiseSource
from knarr.layers.zstd_frames import SKIPPABLE_MAGICS, ZSTD_MAGIC, ZstdReader
from knarr.oci import media_types

_GZIP_MAGIC = b"\x1f\x8b"
# The package's types call it an instance.
_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)
_IN_BYTES = 512 * 1024
_OUT_BYTES = 1024 * 1024


class Compression(enum.Enum):
    """How a layer's tar is packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


MEDIA_TYPE_OF_COMPRESSION: Mapping[Compression, str] = MappingProxyType(
    {
        Compression.NONE: media_types.OCI_LAYER,
        Compression.GZIP: media_types.OCI_LAYER_GZIP,
        Compression.ZSTD: media_types.OCI_LAYER_ZSTD,
    }
)
"""The OCI media type of a layer."""


def detect_compression(head: bytes) -> Compression:
    """What the first four bytes of a stream say; NONE for everything that isn't gzip or zstd."""
    if head.startswith(_GZIP_MAGIC):
        return Compression.GZIP
    magic = head[:4]
    return Compression.ZSTD if magic == ZSTD_MAGIC or magic in SKIPPABLE_MAGICS else Compression.NONE


def open_decompressed(stream: ByteSource, *, compression: Compression | None = None) -> ByteSource:
    """The plain bytes of a stream, detected by its first bytes unless `compression` says what it is.

    `read(n)` gives 1 to n bytes, at most 1 MiB, and b"" at the end only. Registries' media types are often
    wrong, so detection is what containerd and Docker do. The stream itself stays the caller's to close.
    """
    source = PiecewiseSource(stream, _IN_BYTES)
    found = detect_compression(source.peek(4)) if compression is None else compression
    return _READERS[found](source)


class _GzipReader:
    """Members one after the other, as one stream (RFC 1952, 2.2)."""

    def __init__(self, source: PiecewiseSource) -> None:
        self._source = source
        self._member: igzip_lib.IgzipDecompressor | None = None
        self._started = False

    def read(self, size: int, /) -> bytes:
        size = min(size, _OUT_BYTES)
        while True:
            if self._member is None and not self._next_member():
                return b""
            data = self._inflate(size)
            if data:
                return data

    def _next_member(self) -> bool:
        head = self._source.peek(2)
        if head == _GZIP_MAGIC:
            self._started = True
            self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            return True
        if not self._started:
            raise CorruptError("not a gzip stream")
        # GNU gzip reads over zeros too: tapes and some object stores pad with them.
        self._source.expect_zeros("gzip data")
        return False

    def _inflate(self, size: int) -> bytes:
        member = self._member
        assert member is not None
        fed = self._source.piece() if member.needs_input else b""
        if member.needs_input and not fed:
            raise CorruptError("the gzip data is cut off")
        try:
            data = member.decompress(fed, size)
        except _ISAL_ERROR as error:
            raise CorruptError(f"the gzip data is damaged: {error}") from error
        if member.eof:
            self._source.give_back(member.unused_data)
            self._member = None
        return data


_READERS: dict[Compression, Callable[[PiecewiseSource], ByteSource]] = {
    Compression.NONE: lambda source: source,
    Compression.GZIP: _GzipReader,
    Compression.ZSTD: ZstdReader,
}


class Compressor(Protocol):
    """Packs one stream. The same bytes in pieces of the same sizes give the same output."""

    def compress(self, data: bytes, /) -> bytes:
        """Take data; what is ready of the output, maybe nothing."""
        ...

    def flush(self) -> bytes:
        """The rest of the output; the compressor is spent."""
        ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class CompressionSettings:
    """How to write a layer; `level` None is the default: gzip 1, zstd 3."""

    compression: Compression = Compression.GZIP
    level: int | None = None


def _gzip_compressor(level: int) -> Compressor:
    # Both write a header without time or name, so the bytes depend on the content alone. isal has levels up
    # to 3; who asks for more wants small output and waits for zlib.
    if level <= isal_zlib.ISAL_BEST_COMPRESSION:
        return isal_zlib.compressobj(level, isal_zlib.DEFLATED, 31)
    return zlib.compressobj(level, zlib.DEFLATED, 31)


def _zstd_compressor(level: int) -> Compressor:
    return zstandard.ZstdCompressor(level=level, write_checksum=True, threads=0).compressobj()


@dataclass(frozen=True, slots=True)
class _Writer:
    make: Callable[[int], Compressor]
    levels: range
    default: int


_WRITERS: dict[Compression, _Writer] = {
    Compression.NONE: _Writer(lambda level: _Plain(), range(0, 10), 0),
    Compression.GZIP: _Writer(_gzip_compressor, range(0, 10), 1),
    Compression.ZSTD: _Writer(_zstd_compressor, range(1, 23), 3),
}


def new_compressor(settings: CompressionSettings) -> Compressor:
    """A compressor for one layer; UsageError for a level that the format has not."""
    writer = _WRITERS[settings.compression]
    level = writer.default if settings.level is None else settings.level
    if level not in writer.levels:
        raise UsageError(
            f"{settings.compression.value} has no compression level {level}",
            hint=f"levels are {writer.levels[0]} to {writer.levels[-1]}",
        )
    return writer.make(level)
