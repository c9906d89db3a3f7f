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
from knarr.rootfs.tree import Tree, join, parent_of, sort_key

Exclude = Callable[[str], bool]


def diff_upper(
    upper_fd: int, *, lower: Tree | None = None, userxattr: bool = False, exclude: Exclude | None = None
) -> Iterator[LayerItem]:
    """What a step changed: the upper directory's entries, parents first, siblings by name.

    `lower` is what the step saw before. With it, a directory is left out where nothing in it changed and it
    looks as before, and so is a deletion of what was not there; the kernel leaves both behind. Where a
    directory was made anew, each name that is gone has its whiteout, as in a scan's layer (image-spec
    layer.md, "Opaque Whiteout", wants that of writers); without `lower` there is an opaque one. `userxattr`
    is the mount option of that name. `exclude` drops a path with all that is in it. `upper_fd` must stay
    open until the items' contents are read. Sockets are passed over.
    """
    diff = _Diff(upper_fd, lower, "user.overlay." if userxattr else "trusted.overlay.", exclude)
    yield from sorted(diff.items(), key=lambda item: sort_key(item.entry.path))


class _Diff:
    def __init__(self, upper_fd: int, lower: Tree | None, prefix: str, exclude: Exclude | None) -> None:
        self._upper_fd = upper_fd
        self._lower = lower
        self._opaque_key = prefix + "opaque"
        self._whiteout_key = prefix + "whiteout"
        self._exclude = exclude
        self._links = HardLinks()

    def items(self) -> Iterator[LayerItem]:
        return self._children("", is_new=False)

    def _children(self, directory: str, *, is_new: bool) -> Iterator[LayerItem]:
        """What is in a directory; `is_new` where what was there before is gone, whatever its name."""
        fd = open_directory(self._upper_fd, directory, readable=True)
        if fd is None:
            return
        try:
            names = sorted(os.listdir(fd))
            for name in names:
                path = join(directory, name)
                if not self._is_excluded(path):
                    yield from self._changes(fd, name, path, is_new=is_new)
        finally:
            os.close(fd)
        if is_new and self._lower is not None:
            for name in set(self._lower.children(directory)).difference(names):
                if not self._is_excluded(join(directory, name)):
                    yield _marker(directory, WHITEOUT_PREFIX + name)

    def _is_excluded(self, path: str) -> bool:
        return self._exclude is not None and self._exclude(path)

    def _changes(self, directory_fd: int, name: str, path: str, *, is_new: bool) -> Iterator[LayerItem]:
        status = stat_name(directory_fd, name)
        if status is None:
            return
        xattrs = read_xattrs(directory_fd, name)
        if self._is_whiteout(status, xattrs):
            if self._lower is None or self._lower.lookup(path) is not None:
                yield _marker(parent_of(path), WHITEOUT_PREFIX + name)
            return
        entry = describe_with(directory_fd, name, path, status, xattrs)
        if entry is None:
            return
        if entry.kind is Kind.DIRECTORY:
            yield from self._directory(entry, is_new=is_new or xattrs.get(self._opaque_key) == b"y")
        else:
            yield self._links.item(entry, status, partial(open_regular, self._upper_fd, path))

    def _directory(self, entry: Entry, *, is_new: bool) -> Iterator[LayerItem]:
        before = None if self._lower is None else self._lower.lookup(entry.path)
        changed = before is None or not same_directory(before, entry)
        if changed:
            yield LayerItem(entry)
        if is_new and self._lower is None:
            yield _marker(entry.path, OPAQUE_MARKER)
        for item in self._children(entry.path, is_new=is_new):
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


def _marker(directory: str, name: str) -> LayerItem:
    return LayerItem(Entry(path=join(directory, name), kind=Kind.FILE, mode=0o644))
