"""Maps of sparse files in tar archives (GNU tar manual, "Storing Sparse Files").

A map says which parts of a file are stored, as (offset, length) pairs in ascending order; the stored bytes
follow one another in the archive, and the rest of the file is zeros.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from knarr.errors import CorruptError
from knarr.layers.tar.header import BLOCK_BYTES, parse_number

SparseMap = tuple[tuple[int, int], ...]

_FIELD_BYTES = 12
_OLD_GNU_MAP = 386
_OLD_GNU_EXTENDED = 482
_OLD_GNU_SIZE = 483
_MAX_PARTS = 1_000_000
_LINE = re.compile(rb"[0-9]{1,19}\n")


def read_old_gnu(block: bytes, take: Callable[[int], bytes]) -> tuple[int, SparseMap]:
    """The size with the map of a header of type "S"; more of the map may follow in blocks of its own."""
    numbers = _fields(block[_OLD_GNU_MAP:_OLD_GNU_EXTENDED])
    more = block[_OLD_GNU_EXTENDED]
    while more:
        extension = take(BLOCK_BYTES)
        numbers += _fields(extension[:504])
        more = extension[504]
        _check_count(len(numbers))
    return parse_number(block[_OLD_GNU_SIZE : _OLD_GNU_SIZE + _FIELD_BYTES]), _pairs(numbers)


def _fields(data: bytes) -> list[int]:
    numbers: list[int] = []
    for start in range(0, len(data) - 2 * _FIELD_BYTES + 1, 2 * _FIELD_BYTES):
        if data[start] == 0:
            break
        numbers.append(parse_number(data[start : start + _FIELD_BYTES]))
        numbers.append(parse_number(data[start + _FIELD_BYTES : start + 2 * _FIELD_BYTES]))
    return numbers


def read_pax(
    records: Mapping[bytes, bytes], parts: Sequence[bytes], take: Callable[[int], bytes]
) -> tuple[int, SparseMap, int]:
    """Size, map, and how many bytes of the content the map itself took, in the three forms of PAX headers.

    `parts` are the values of the repeated `offset` and `numbytes` records of version 0.0.
    """
    version = (records.get(b"GNU.sparse.major", b"0"), records.get(b"GNU.sparse.minor", b"0"))
    if version == (b"1", b"0"):
        size = _decimal(records.get(b"GNU.sparse.realsize", b""))
        pairs, used = _read_leading_map(take)
        return size, pairs, used
    if version not in ((b"0", b"0"), (b"0", b"1")):
        raise CorruptError(f"an archive has a sparse file of an unknown version: {version!r}")
    size = _decimal(records.get(b"GNU.sparse.size", b""))
    listed = records.get(b"GNU.sparse.map")
    texts = list(parts) if listed is None else [text for text in listed.split(b",") if text]
    _check_count(len(texts))
    return size, _pairs([_decimal(text) for text in texts]), 0


def _read_leading_map(take: Callable[[int], bytes]) -> tuple[SparseMap, int]:
    data = bytearray()
    numbers: list[int] = []
    position = used = 0
    wanted = 1
    while len(numbers) < wanted:
        line = _LINE.match(data, position)
        if line is None:
            if len(data) - position > 20:
                raise CorruptError("an archive has a sparse file with a damaged map")
            data = data[position:] + take(BLOCK_BYTES)
            position = 0
            used += BLOCK_BYTES
            continue
        position = line.end()
        numbers.append(int(line[0]))
        if len(numbers) == 1:
            _check_count(numbers[0])
            wanted = 1 + 2 * numbers[0]
    return _pairs(numbers[1:]), used


def _pairs(numbers: list[int]) -> SparseMap:
    if len(numbers) % 2:
        raise CorruptError("an archive has a sparse file with half a map entry")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def check_map(pairs: SparseMap, *, size: int, stored: int) -> None:
    """CorruptError unless the parts ascend, lie apart and within the file, and add up to what is stored."""
    end = 0
    for offset, length in pairs:
        if offset < end or length < 0:
            raise CorruptError("an archive has a sparse file whose parts overlap")
        end = offset + length
    if end > size or sum(length for _, length in pairs) != stored:
        raise CorruptError("an archive has a sparse file whose map does not fit its size")


def _decimal(text: bytes) -> int:
    if not (text.isdigit() and len(text) < 20):
        raise CorruptError(f"an archive has a sparse file with a damaged number: {text[:40]!r}")
    return int(text)


def _check_count(count: int) -> None:
    if count > 2 * _MAX_PARTS:
        raise CorruptError("an archive has a sparse file of too many parts")
