"""One 512-byte tar header as a value (POSIX.1-1988 ustar, GNU tar's and star's variants)."""

import itertools
import struct
from functools import lru_cache
from typing import NamedTuple
from zlib import adler32

from knarr.errors import CorruptError

BLOCK_BYTES = 512
MAX_ID = 0xFFFFFFFE
"""The highest user or group number; the next one means "leave as it is" to chown."""

MAX_MAJOR = 2**12 - 1
MAX_MINOR = 2**20 - 1
"""The highest device number that Linux has (include/linux/kdev_t.h), far below what a header can say.

Beyond it, GNU tar fails to make the device ("Invalid argument"), while Docker, containerd and BuildKit cut
off the high bits and make another one, /dev/mem for 4097:1. So it is refused when read as when written.
"""
MAX_EXTENSION_BYTES = 1024 * 1024
"""One PAX or GNU long-name header; Go's reader has the same limit."""

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x")
_USTAR = b"ustar\x00"
_STAR_TRAILER = b"tar\x00"
_STAR_PREFIX_BYTES = 131
_MAX_NUMBER = 2**63 - 1
_DEVICE_FLAGS = (b"3", b"4")
_USUAL_ENDS = frozenset(itertools.product((0, 0x20), repeat=3))
"""A NUL or a space after each of three numbers."""


class RawHeader(NamedTuple):
    """What a header says, unchecked but for its checksum and the form of its numbers."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_s: int
    flag: bytes
    link: bytes
    device: tuple[int, int]


def byte_sum(block: bytes) -> int:
    """The sum of up to 512 bytes.

    Both halves stay under adler32's modulus, so that its low word is one more than the plain sum; this is
    seven times as fast as `sum`.
    """
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def parse_header(block: bytes) -> RawHeader:
    """Read a header; CorruptError where the checksum or a number is wrong."""
    fields = _HEADER.unpack(block)
    (name, mode, uid, gid, size, mtime, checksum, flag, link, magic, major, minor, prefix) = fields
    size_bytes, mtime_s, expected = _parse_three(size, mtime, checksum)
    # The checksum counts itself as eight spaces.
    if expected != byte_sum(block) - sum(checksum) + 256:
        _check_signed_sum(block, checksum)
    name = name.partition(b"\0")[0]
    if prefix[0] and magic.startswith(_USTAR):
        if block.endswith(_STAR_TRAILER):
            prefix = block[345 : 345 + _STAR_PREFIX_BYTES]
        name = prefix.partition(b"\0")[0] + b"/" + name
    return RawHeader(
        name,
        parse_number(mode),
        parse_number(uid),
        parse_number(gid),
        size_bytes,
        mtime_s,
        flag,
        link.partition(b"\0")[0] if link[0] else b"",
        (parse_number(major), parse_number(minor)) if flag in _DEVICE_FLAGS else (0, 0),
    )


def _parse_three(size: bytes, mtime: bytes, checksum: bytes) -> tuple[int, int, int]:
    """The numbers that differ from entry to entry, together where they are plain digits, as nearly always."""
    digits = size[:11], mtime[:11], checksum[:6]
    if b"".join(digits).isdigit() and (size[11], mtime[11], checksum[6]) in _USUAL_ENDS:
        return _parse_octal(digits[0]), _parse_octal(digits[1]), _parse_octal(digits[2])
    return parse_number(size), parse_number(mtime), parse_number(checksum)


def _parse_octal(digits: bytes) -> int:
    try:
        return int(digits, 8)
    except ValueError:
        raise CorruptError(f"a tar header has a damaged number: {digits!r}") from None


# Modes, owners and the like repeat in every archive.
@lru_cache(maxsize=1024)
def parse_number(field: bytes) -> int:
    """An octal or base-256 number, negative ones included; CorruptError for anything else."""
    if field[0] & 0x80:
        return _parse_base256(field)
    text = field.lstrip(b" \0").partition(b"\0")[0].rstrip(b" ")
    if not text:
        return 0
    # int() alone would take signs, underscores or an 0o in front, which no other reader does.
    if not text.isdigit():
        raise CorruptError(f"a tar header has a damaged number: {field!r}")
    return _parse_octal(text)


def _parse_base256(field: bytes) -> int:
    value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
    if field[0] & 0x40:
        value -= 0x80 << 8 * (len(field) - 1)
    if not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise CorruptError(f"a tar header has a number that is out of range: {field!r}")
    return value


def _check_signed_sum(block: bytes, checksum: bytes) -> None:
    # Some old tars added up signed characters; every reader takes both.
    high = sum(1 for byte in block if byte > 127) - sum(1 for byte in checksum if byte > 127)
    if parse_number(checksum) != byte_sum(block) - byte_sum(checksum) + 256 - 256 * high:
        raise CorruptError("a tar header has a wrong checksum: the archive is damaged or no tar")
