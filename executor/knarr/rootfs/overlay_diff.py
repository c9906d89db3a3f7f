"""The upper directory of an overlayfs mount as a layer."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind, LayerItem
from knarr.rootfs.hard_links import HardLinks
from knarr.rootfs.inode import describe_with, read_xattrs, stat_name
from knarr.rootfs.open_inside import open_directory, open_regular
from knarr.rootfs.tree import Tree, join

Exclude = Callable[[str], bool]


def diff_upper(
    upper_fd: int, *, lower: Tree | None = None, userxattr: bool = False, exclude: Exclude | None = None
) -> Iterator[LayerItem]:
    """What a step changed: the upper directory's entries, parents first, siblings by name.

    `lower` is what the step saw before. With it, a directory is left out where nothing in it changed and it
    looks as before, and so is a deletion of what was not there; the kernel leaves both behind. `userxattr`
    is the mount option of that name. `exclude` drops a path with all that is in it. `upper_fd` must stay
    open until the items' contents are read. Sockets are passed over.
    """
    return _Diff(upper_fd, lower, "user.overlay." if userxattr else "trusted.overlay.", exclude).items()


class _Diff:
    def __init__(self, upper_fd: int, lower: Tree | None, prefix: str, exclude: Exclude | None) -> None:
        self._upper_fd = upper_fd
        self._lower = lower
        self._opaque_key = prefix + "opaque"
        self._whiteout_key = prefix + "whiteout"
        self._exclude = exclude
        self._links = HardLinks()

    def items(self) -> Iterator[LayerItem]:
        return self._children("")

    def _children(self, directory: str) -> Iterator[LayerItem]:
        fd = open_directory(self._upper_fd, directory, readable=True)
        if fd is None:
            return
        try:
            for name in sorted(os.listdir(fd)):
                path = join(directory, name)
                if self._exclude is None or not self._exclude(path):
                    yield from self._changes(fd, name, path)
        finally:
            os.close(fd)

    def _changes(self, directory_fd: int, name: str, path: str) -> Iterator[LayerItem]:
        status = stat_name(directory_fd, name)
        if status is None:
            return
        xattrs = read_xattrs(directory_fd, name)
        if self._is_whiteout(status, xattrs):
            if self._lower is None or self._lower.lookup(path) is not None:
                yield _marker(path, WHITEOUT_PREFIX + name)
            return
        entry = describe_with(directory_fd, name, path, status, xattrs)
        if entry is None:
            return
        if entry.kind is Kind.DIRECTORY:
            yield from self._directory(entry, opaque=xattrs.get(self._opaque_key) == b"y")
        else:
            yield self._links.item(entry, status, partial(open_regular, self._upper_fd, path))

    def _directory(self, entry: Entry, *, opaque: bool) -> Iterator[LayerItem]:
        before = None if self._lower is None else self._lower.lookup(entry.path)
        changed = self._lower is None or before is None or not same_directory(before, entry)
        if opaque and (self._lower is None or (before is not None and before.kind is Kind.DIRECTORY)):
            changed = True
        else:
            opaque = False
        if changed:
            yield LayerItem(entry)
        if opaque:
            yield _marker(join(entry.path, OPAQUE_MARKER), OPAQUE_MARKER)
        for item in self._children(entry.path):
            if not changed:
                changed = True
                yield LayerItem(entry)
            yield item

    def _is_whiteout(self, status: os.stat_result, xattrs: Mapping[str, bytes]) -> bool:
        if stat.S_ISCHR(status.st_mode):
            return status.st_rdev == 0
        return stat.S_ISREG(status.st_mode) and status.st_size == 0 and self._whiteout_key in xattrs


def same_directory(before: Entry, after: Entry) -> bool:
    """Whether a directory looks as before, its time included: a step may have set it."""
    return replace(before, path=after.path) == after


def _marker(path: str, name: str) -> LayerItem:
    directory = path.rpartition("/")[0]
    return LayerItem(Entry(path=join(directory, name), kind=Kind.FILE, mode=0o644))
