"""Extended headers of one tar entry: PAX records, GNU tar's long names."""

from collections.abc import Callable, Mapping

from knarr.errors import CorruptError
from knarr.layers.entry import NO_XATTRS
from knarr.layers.tar.header import RawHeader
from knarr.layers.tar.pax import (
    XATTR_PREFIX,
    check_global,
    parse_pax_number,
    parse_pax_time_ns,
    parse_records,
)
from knarr.layers.tar.sparse import SparseMap, read_pax

_SPARSE_PARTS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


class Extension:
    """What the headers in front of an entry's own say about it.

    Where two of them name the same thing, readers differ in which one wins: that is refused.
    """

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._sparse_parts: list[bytes] = []
        self._flags: set[bytes] = set()
        self.xattrs: Mapping[str, bytes] = NO_XATTRS

    def add(self, flag: bytes, data: bytes) -> None:
        """Take the content of a header of type x, g, L or K."""
        if flag == b"g":
            check_global(data)
            return
        if flag in self._flags:
            raise CorruptError("an archive has two extended headers of the same type for one entry")
        self._flags.add(flag)
        if flag == b"x":
            self._add_pax(data)
        else:
            self._add_long_name(b"path" if flag == b"L" else b"linkpath", data)

    @property
    def is_global_only(self) -> bool:
        """Whether nothing here needs an entry to follow."""
        return not self._flags

    @property
    def is_sparse(self) -> bool:
        """Whether PAX records make the entry a sparse file."""
        return any(key.startswith(b"GNU.sparse.") for key in self._records) or bool(self._sparse_parts)

    def _add_pax(self, data: bytes) -> None:
        xattrs: dict[str, bytes] = {}
        for key, value in parse_records(data):
            if key.startswith(XATTR_PREFIX):
                name = key[len(XATTR_PREFIX) :].decode("utf-8", "surrogateescape")
                if not name:
                    raise CorruptError("a PAX header has an extended attribute without name")
                xattrs[name] = value
            elif key in _SPARSE_PARTS:
                if key != _SPARSE_PARTS[len(self._sparse_parts) % 2]:
                    raise CorruptError("an archive has a sparse file with half a map entry")
                self._sparse_parts.append(value)
            elif value:
                self._set(key, value)
        if xattrs:
            self.xattrs = xattrs

    def _add_long_name(self, key: bytes, data: bytes) -> None:
        name, _, rest = data.partition(b"\0")
        if rest.strip(b"\0"):
            raise CorruptError("an archive has a long name with a NUL inside")
        self._set(key, name)

    def _set(self, key: bytes, value: bytes) -> None:
        if key in (b"path", b"linkpath", b"GNU.sparse.name"):
            if b"\0" in value:
                raise CorruptError("a PAX header has a name with a NUL inside")
            if self._records.get(key, value) != value:
                raise CorruptError("an archive gives one entry two names")
        self._records[key] = value

    def apply(self, header: RawHeader) -> RawHeader:
        """The header with its fields replaced by what the extended headers say."""
        records = self._records
        name = records.get(b"GNU.sparse.name", records.get(b"path", header.name))
        return header._replace(
            name=name,
            link=records.get(b"linkpath", header.link),
            uid=self._number(b"uid", header.uid),
            gid=self._number(b"gid", header.gid),
            size=self._number(b"size", header.size),
        )

    def _number(self, key: bytes, default: int) -> int:
        value = self._records.get(key)
        return default if value is None else parse_pax_number(key, value)

    def mtime_ns(self, header_mtime_s: int) -> int:
        """The entry's time: from a record, or else from the entry's own header."""
        value = self._records.get(b"mtime")
        return header_mtime_s * 10**9 if value is None else parse_pax_time_ns(value)

    def read_sparse_map(self, take: Callable[[int], bytes]) -> tuple[int, SparseMap, int]:
        """Size, map and length of the map in the content; `take` reads the content's start."""
        return read_pax(self._records, self._sparse_parts, take)
