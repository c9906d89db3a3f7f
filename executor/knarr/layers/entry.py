"""The entry of a layer as a value (image-spec layer.md)."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import BinaryIO

WHITEOUT_PREFIX = ".wh."
OPAQUE_MARKER = ".wh..wh..opq"
NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


class Kind(enum.Enum):
    """What an entry is; a socket has no place in a layer."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHAR = "char"
    BLOCK = "block"
    FIFO = "fifo"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a layer, or one file of a root file system.

    `path` is relative to the root: components joined by "/", none of them empty, "." or "..", no slash
    at either end; "" is the root directory itself. A whiteout is a FILE whose last component starts with
    `.wh.` (image-spec layer.md, "Whiteouts").
    """

    path: str
    kind: Kind
    mode: int
    """Permission bits with setuid, setgid and sticky: 0 to 0o7777."""
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    """Nanoseconds since 1970; a layer that we write keeps whole seconds."""
    size: int = 0
    """Bytes of content; 0 for everything but a FILE."""
    link_target: str = ""
    """A SYMLINK's text, verbatim; a HARDLINK's target as a `path` of the same root."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of CHAR and BLOCK."""
    xattrs: Mapping[str, bytes] = field(default_factory=lambda: NO_XATTRS)


@dataclass(frozen=True, slots=True)
class LayerItem:
    """An entry with the way to its content; `open_content` is given for a FILE with size > 0 only.

    The writer calls it once, when it comes to this entry, reads exactly `entry.size` bytes and closes it.
    """

    entry: Entry
    open_content: Callable[[], BinaryIO] | None = None
