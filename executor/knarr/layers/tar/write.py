"""Deterministic writing of tar archives (image-spec layer.md; POSIX ustar, with PAX records where needed).

The bytes follow from the items alone: no user names, no access times, whole seconds, two blocks at the end.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import BinaryIO

from knarr.errors import CorruptError
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.tar.header import BLOCK_BYTES, MAX_EXTENSION_BYTES, MAX_ID, MAX_MAJOR, MAX_MINOR, byte_sum
from knarr.layers.tar.pax import XATTR_PREFIX

_CHUNK_BYTES = 1024 * 1024
_END = bytes(2 * BLOCK_BYTES)
_ZEROS = bytes(BLOCK_BYTES)
_NS = 10**9
_NAME_BYTES = 100
_PREFIX_BYTES = 155
_MAX_MODE = 0o7777
# What fits the digits of a header; a PAX record has what is beyond, up to what a reader takes.
_MAX_ID_FIELD = 0o7777777
_MAX_SIZE_FIELD = _MAX_MTIME_FIELD = 0o77777777777
_MAX_NUMBER = 2**63 - 1
_FLAGS = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_USTAR = b"ustar\x0000"
_NO_NAMES = bytes(64)
_NO_DEVICE = (0, 0)
_DEVICE = b"%07o\0%07o\0"
_TAIL = bytes(12)


def write_tar(items: Iterable[LayerItem], write: Callable[[bytes], object]) -> None:
    """Write an archive in the order of the items.

    A file's content is read when its turn comes. Raises CorruptError where it ends before `entry.size`; what
    it has beyond is left out.
    """
    for item in items:
        entry = item.entry
        write(format_header(entry))
        if entry.size:
            if item.open_content is None:
                raise CorruptError(f"{entry.path} has a size but no content")
            with closing(item.open_content()) as content:
                _copy(entry, content, write)
            padding = -entry.size % BLOCK_BYTES
            if padding:
                write(_ZEROS[:padding])
    write(_END)


def _copy(entry: Entry, content: BinaryIO, write: Callable[[bytes], object]) -> None:
    left = entry.size
    while left:
        data = content.read(min(left, _CHUNK_BYTES))
        if not data:
            raise CorruptError(
                f"{entry.path} ended {left} bytes before its size of {entry.size}",
                hint="something changed it while it was read",
            )
        write(data)
        left -= len(data)


def format_header(entry: Entry) -> bytes:
    """The header blocks of an entry: its own, with a PAX header in front where a value does not fit.

    Raises CorruptError for a number that no reader takes. A time is written as it is, though readers take one
    before 1970 or after 2262 for the epoch, as containerd does.
    """
    name = entry.path.encode("utf-8", "surrogateescape")
    if entry.kind is Kind.DIRECTORY:
        name = name + b"/" if name else b"./"
    link = entry.link_target.encode("utf-8", "surrogateescape")
    mtime = entry.mtime_ns // _NS
    if (
        len(name) <= _NAME_BYTES
        and len(link) <= _NAME_BYTES
        and 0 <= entry.mode <= _MAX_MODE
        and 0 <= entry.uid <= _MAX_ID_FIELD
        and 0 <= entry.gid <= _MAX_ID_FIELD
        and 0 <= entry.size <= _MAX_SIZE_FIELD
        and 0 <= mtime <= _MAX_MTIME_FIELD
        and entry.device == _NO_DEVICE
        and not entry.xattrs
        and name.isascii()
        and link.isascii()
    ):
        return _block(name, entry.mode, entry.uid, entry.gid, entry.size, mtime, _FLAGS[entry.kind], link)
    return _extended(entry, name, link, mtime)


def _check_numbers(entry: Entry) -> None:
    major, minor = entry.device
    if not (
        0 <= entry.mode <= _MAX_MODE
        and 0 <= entry.uid <= MAX_ID
        and 0 <= entry.gid <= MAX_ID
        and 0 <= entry.size <= _MAX_NUMBER
        and 0 <= major <= MAX_MAJOR
        and 0 <= minor <= MAX_MINOR
    ):
        raise CorruptError(
            f"{entry.path} has a number out of range, which no archive can hold: mode {entry.mode:#o}, owner "
            f"{entry.uid}:{entry.gid}, {entry.size} bytes, device {major}:{minor}"
        )


def _block(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    flag: bytes,
    link: bytes,
    device: tuple[int, int] = _NO_DEVICE,
    prefix: bytes = b"",
) -> bytes:
    head = name.ljust(_NAME_BYTES, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        mode,
        uid,
        gid,
        size,
        mtime,
    )
    tail = b"".join(
        (
            flag,
            link.ljust(_NAME_BYTES, b"\0"),
            _USTAR,
            _NO_NAMES,
            _DEVICE % device,
            prefix.ljust(_PREFIX_BYTES, b"\0"),
            _TAIL,
        )
    )
    # The checksum counts itself as eight spaces.
    checksum = byte_sum(head) + 8 * 0x20 + byte_sum(tail)
    return b"%b%06o\0 %b" % (head, checksum, tail)


def _extended(entry: Entry, name: bytes, link: bytes, mtime: int) -> bytes:
    _check_numbers(entry)
    records = {XATTR_PREFIX + _xattr_key(entry, key): value for key, value in entry.xattrs.items()}
    prefix = b""
    if not name.isascii():
        records[b"path"] = name
    elif len(name) > _NAME_BYTES:
        split = _split(name)
        if split is None:
            records[b"path"] = name
        else:
            prefix, name = split
    if len(link) > _NAME_BYTES or not link.isascii():
        records[b"linkpath"] = link
    numbers = {
        b"uid": (entry.uid, _MAX_ID_FIELD),
        b"gid": (entry.gid, _MAX_ID_FIELD),
        b"size": (entry.size, _MAX_SIZE_FIELD),
        b"mtime": (mtime, _MAX_MTIME_FIELD),
    }
    for key, (value, limit) in numbers.items():
        if not 0 <= value <= limit:
            records[key] = b"%d" % value
    uid, gid, size, mtime = (value if 0 <= value <= limit else 0 for value, limit in numbers.values())
    own = _block(
        name[:_NAME_BYTES] if b"path" in records else name,
        entry.mode,
        uid,
        gid,
        size,
        mtime,
        _FLAGS[entry.kind],
        link[:_NAME_BYTES],
        entry.device,
        prefix,
    )
    return _pax_header(entry, records) + own if records else own


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Directory and rest of a long name for ustar's two fields; None where no slash is in the right place."""
    at = name.rfind(b"/", 0, min(_PREFIX_BYTES + 1, len(name) - 1))
    if at <= 0 or len(name) - at - 1 > _NAME_BYTES:
        return None
    return name[:at], name[at + 1 :]


def _xattr_key(entry: Entry, key: str) -> bytes:
    if "=" in key:
        raise CorruptError(f"{entry.path} has the extended attribute {key!r}, which no archive can hold")
    return key.encode("utf-8", "surrogateescape")


def _pax_header(entry: Entry, records: dict[bytes, bytes]) -> bytes:
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    if len(data) > MAX_EXTENSION_BYTES:
        raise CorruptError(
            f"{entry.path} has {len(data)} bytes of names and extended attributes, "
            f"more than the {MAX_EXTENSION_BYTES} that an archive may have for one file"
        )
    header = _block(b"PaxHeaders.0/entry", 0o644, 0, 0, len(data), 0, b"x", b"")
    return header + data + _ZEROS[: -len(data) % BLOCK_BYTES]


def _record(key: bytes, value: bytes) -> bytes:
    body = b" %b=%b\n" % (key, value)
    # The length counts its own digits.
    length = len(body) + len(str(len(body)))
    if len(body) + len(str(length)) != length:
        length += 1
    return b"%d%b" % (length, body)
