"""Reads what an ELF file needs (System V ABI, chapters 4, 5; 64 bit, little endian).

Both architectures that images are made for have this form, so neither needs tools of the other.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\x7fELF\x02\x01"

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_SECTION_FIELDS = {"offset": (40, "<Q"), "count": (60, "<H"), "names": (62, "<H")}


class ElfError(Exception):
    """A file that is not what is expected here."""


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def is_elf(data: bytes) -> bool:
    """Whether these are the first bytes of an ELF file of 64 bits, little endian."""
    return data.startswith(MAGIC)


def needed_libraries(data: bytes) -> tuple[str, ...]:
    """The names of the libraries that the loader must find for this file."""
    return tuple(_dynamic_strings(data, _DT_NEEDED))


def search_paths(data: bytes) -> tuple[str, ...]:
    """The directories that the file itself wants searched (DT_RPATH, DT_RUNPATH)."""
    return (*_dynamic_strings(data, _DT_RPATH), *_dynamic_strings(data, _DT_RUNPATH))


def with_interpreter(data: bytes, path: str) -> bytes:
    """The executable with another loader. Raises ElfError where the path is longer than the one before."""
    for segment in _segments(data):
        if segment.kind == _PT_INTERP:
            if len(path) >= segment.size:
                raise ElfError(f"{path} does not fit in the {segment.size} bytes for the loader's path")
            end = segment.offset + segment.size
            return data[: segment.offset] + path.encode().ljust(segment.size, b"\0") + data[end:]
    raise ElfError("the executable names no loader")


def without_sections(data: bytes) -> bytes:
    """The file without what only a linker or a debugger reads: the loader goes by segments alone."""
    end = max(segment.offset + segment.size for segment in _segments(data))
    kept = bytearray(data[:end])
    for offset, form in _SECTION_FIELDS.values():
        struct.pack_into(form, kept, offset, 0)
    return bytes(kept)


def _segments(data: bytes) -> Iterator[_Segment]:
    if not is_elf(data):
        raise ElfError("not an ELF file of 64 bits, little endian")
    fields = _HEADER.unpack_from(data)
    table, count = fields[4], fields[9]
    for number in range(count):
        kind, _, offset, address, _, size, _, _ = _PROGRAM_HEADER.unpack_from(
            data, table + number * _PROGRAM_HEADER.size
        )
        yield _Segment(kind, offset, address, size)


def _dynamic_strings(data: bytes, wanted: int) -> Iterator[str]:
    entries = list(_dynamic_entries(data))
    tables = [value for tag, value in entries if tag == _DT_STRTAB]
    if not tables:
        return
    start = _file_offset(data, tables[0])
    for tag, value in entries:
        if tag == wanted:
            yield data[start + value : data.index(b"\0", start + value)].decode()


def _dynamic_entries(data: bytes) -> Iterator[tuple[int, int]]:
    for segment in _segments(data):
        if segment.kind == _PT_DYNAMIC:
            yield from _DYNAMIC.iter_unpack(data[segment.offset : segment.offset + segment.size])


def _file_offset(data: bytes, address: int) -> int:
    for segment in _segments(data):
        if segment.kind == _PT_LOAD and segment.address <= address < segment.address + segment.size:
            return segment.offset + address - segment.address
    raise ElfError(f"nothing of the file is loaded at address {address:#x}")
