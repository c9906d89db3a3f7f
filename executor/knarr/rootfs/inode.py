"""An inode on disk as the entry it is in a layer."""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import BinaryIO

from knarr.errors import ContextError
from knarr.layers.entry import NO_XATTRS, Entry, Kind, LayerItem
from knarr.layers.tar.header import MAX_ID

OWNER_XATTR = "user.knarr.owner"
"""b"uid:gid": the owner of a file whose real one a user namespace with a single id could not set."""
OVERLAY_PREFIXES = ("user.overlay.", "trusted.overlay.")

_KEPT_XATTRS = ("user.", "trusted.", "system.posix_acl_", "security.capability")
"""Attributes that belong to the file; labels and signatures of the machine's own policies do not."""
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
_NO_XATTRS_HERE = {errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOTDIR}


def stat_name(directory_fd: int, name: str) -> os.stat_result | None:
    """The status of a name, symlinks not followed; None where there is none, or none can be."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return None
        raise


def _kind_of(status: os.stat_result) -> Kind | None:
    """What the inode is; None for a socket, which has no place in a layer."""
    return _KINDS.get(stat.S_IFMT(status.st_mode))


def read_xattrs(directory_fd: int, name: str) -> Mapping[str, bytes]:
    """All extended attributes that this process may see, overlayfs's and our own too; "." is the directory.

    There is no system call for a name in a directory, so the way goes over /proc/self/fd.
    """
    path = f"/proc/self/fd/{directory_fd}/{name}"
    try:
        names = os.listxattr(path, follow_symlinks=False)
        if not names:
            return NO_XATTRS
        return {key: os.getxattr(path, key, follow_symlinks=False) for key in sorted(names)}
    except OSError as error:
        if error.errno in _NO_XATTRS_HERE:
            return NO_XATTRS
        raise


def describe(directory_fd: int, name: str, path: str, status: os.stat_result) -> Entry | None:
    """The inode as the entry at `path`, `status` being that of the name; None for a socket."""
    return describe_with(directory_fd, name, path, status, read_xattrs(directory_fd, name))


def describe_with(
    directory_fd: int, name: str, path: str, status: os.stat_result, xattrs: Mapping[str, bytes]
) -> Entry | None:
    """As `describe`, with the attributes read already."""
    kind = _kind_of(status)
    if kind is None:
        return None
    uid, gid = _owner(xattrs.get(OWNER_XATTR), path) or (status.st_uid, status.st_gid)
    device = (0, 0)
    if kind in (Kind.CHAR, Kind.BLOCK):
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=uid,
        gid=gid,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if kind is Kind.FILE else 0,
        link_target=os.readlink(name, dir_fd=directory_fd) if kind is Kind.SYMLINK else "",
        device=device,
        xattrs=layer_xattrs(xattrs),
    )


class HardLinks:
    """Names of one inode kept together within a layer; remembers inodes by device and number."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], str] = {}

    def item(self, entry: Entry, status: os.stat_result, open_content: Callable[[], BinaryIO]) -> LayerItem:
        """The entry with its content, or as a HARDLINK to the name of the same inode that came first."""
        if status.st_nlink > 1 and entry.kind is not Kind.DIRECTORY:
            first = self._first.setdefault((status.st_dev, status.st_ino), entry.path)
            if first != entry.path:
                return LayerItem(
                    replace(
                        entry,
                        kind=Kind.HARDLINK,
                        size=0,
                        link_target=first,
                        xattrs=NO_XATTRS,
                        device=(0, 0),
                    )
                )
        return LayerItem(entry, open_content if entry.size else None)


def layer_xattrs(xattrs: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Those attributes that go into a layer."""
    if not xattrs:
        return NO_XATTRS
    kept = {
        key: value
        for key, value in xattrs.items()
        if key.startswith(_KEPT_XATTRS) and key != OWNER_XATTR and not key.startswith(OVERLAY_PREFIXES)
    }
    return kept or NO_XATTRS


def _owner(value: bytes | None, path: str) -> tuple[int, int] | None:
    if value is None:
        return None
    uid, _, gid = value.partition(b":")
    if not (uid.isdigit() and gid.isdigit() and len(value) <= 21 and max(int(uid), int(gid)) <= MAX_ID):
        raise ContextError(f"reading the owner of /{path}: its attribute {OWNER_XATTR} is {value!r}")
    return int(uid), int(gid)
