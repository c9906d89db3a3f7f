"""PAX extended header records (POSIX.1-2001 pax, "pax Extended Header")."""

import re
from collections.abc import Iterator

from knarr.errors import CorruptError

XATTR_PREFIX = b"SCHILY.xattr."

_NUMBER = re.compile(rb"[0-9]{1,19}")
_TIME = re.compile(rb"(-?[0-9]{1,19})(\.[0-9]*)?")
_LENGTH = re.compile(rb"([1-9][0-9]{0,9}) ")
_GLOBAL_REFUSED = (b"path", b"linkpath", b"size")
_SPARSE = b"GNU.sparse."


def parse_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys with values in the archive's order; CorruptError where a record isn't well-formed."""
    position = 0
    while position < len(data):
        length = _LENGTH.match(data, position)
        if length is None:
            raise CorruptError("a PAX header has a record without length")
        end = position + int(length[1])
        record = data[length.end() : end]
        key, equals, value = record[:-1].partition(b"=")
        if end > len(data) or not record.endswith(b"\n") or not equals or not key or b"\0" in key:
            raise CorruptError("a PAX header has a damaged record")
        yield key, value
        position = end


def check_global(data: bytes) -> None:
    """Check a global header, such as the one that `git archive` writes with the commit's id.

    Docker and containerd ignore its records, other tools apply them to every entry. CorruptError for a record
    that would make the two see different files.
    """
    for key, _ in parse_records(data):
        if key in _GLOBAL_REFUSED or key.startswith(_SPARSE):
            raise CorruptError(
                f"a global PAX header sets {key.decode()}, which readers understand differently"
            )


def parse_pax_number(key: bytes, value: bytes) -> int:
    """A record's decimal number."""
    if not _NUMBER.fullmatch(value) or int(value) >= 2**63:
        raise CorruptError(f"a PAX header has a damaged number: {key.decode()}={value[:40]!r}")
    return int(value)


def parse_pax_time_ns(value: bytes) -> int:
    """A record's time in nanoseconds, digits beyond these cut off."""
    found = _TIME.fullmatch(value)
    if found is None:
        raise CorruptError(f"a PAX header has a damaged time: {value[:40]!r}")
    fraction = int(((found[2] or b".")[1:] + b"0" * 9)[:9])
    seconds = int(found[1])
    return seconds * 10**9 + (-fraction if found[1].startswith(b"-") else fraction)
