"""The upper directory of an overlayfs mount as a layer."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind, LayerItem
from knarr.layers.paths import join, name_of, parent_of, sort_key
from knarr.rootfs.changes.unchanged import Name, find_unchanged
from knarr.rootfs.inode import HardLinks, describe_with, read_xattrs, stat_name
from knarr.rootfs.open_inside import open_directory, open_regular
from knarr.rootfs.tree import OpenContent, Tree

Exclude = Callable[[str], bool]


def diff_upper(
    upper_fd: int, *, lower: Tree | None = None, userxattr: bool = False, exclude: Exclude | None = None
) -> Iterator[LayerItem]:
    """What a step changed: the upper directory's entries, parents first, siblings by name.

    `lower` is what the step saw before. With it, what is as before is left out: files that were written or
    described anew with the same, directories that look as before and have nothing in them that changed,
    deletions of what was not there. The kernel leaves all of these behind. Where a
    directory was made anew, each name that is gone has its whiteout, as in a scan's layer (image-spec
    layer.md, "Opaque Whiteout", wants that of writers); without `lower` there is an opaque one. `userxattr`
    is the mount option of that name. `exclude` drops a path with all that is in it. `upper_fd` must stay
    open until the items' contents are read. Sockets are passed over.
    """
    diff = _Diff(upper_fd, lower, "user.overlay." if userxattr else "trusted.overlay.", exclude)
    yield from sorted(diff.run(), key=lambda item: sort_key(item.entry.path))


class _File(NamedTuple):
    """What the upper directory has that is no directory."""

    entry: Entry
    status: os.stat_result
    open_content: OpenContent


class _Diff:
    """One walk, in the order of the layer, so that the first name of a file is the one that others link to.

    It takes no recursion and two descriptors: what a step makes may have any depth.
    """

    def __init__(self, upper_fd: int, lower: Tree | None, prefix: str, exclude: Exclude | None) -> None:
        self._upper_fd = upper_fd
        self._lower = lower
        self._opaque_key = prefix + "opaque"
        self._whiteout_key = prefix + "whiteout"
        self._exclude = exclude
        self._found: list[LayerItem] = []
        """Markers, and directories that changed."""
        self._files: dict[str, _File] = {}
        self._unchanged: dict[str, Entry] = {}
        """Directories that are in the layer only where something in them is."""
        self._waiting: list[tuple[str, bool]] = []
        """Paths to look at, each with whether what was there before is gone, whatever its name."""
        self._open: tuple[str, int] | None = None

    def run(self) -> list[LayerItem]:
        try:
            self._enter("", is_new=False)
            while self._waiting:
                path, is_new = self._waiting.pop()
                self._look_at(path, is_new=is_new)
            self._found += self._changed_files()
        finally:
            self._close()
        for item in list(self._found):
            path = item.entry.path
            while (entry := self._unchanged.pop(path := parent_of(path), None)) is not None:
                self._found.append(LayerItem(entry))
        return self._found

    def _enter(self, directory: str, *, is_new: bool) -> None:
        fd = open_directory(self._upper_fd, directory, readable=True)
        if fd is None:
            return
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
        for name in sorted(names, reverse=True):
            path = join(directory, name)
            if not self._is_excluded(path):
                self._waiting.append((path, is_new))
        if is_new and self._lower is not None:
            for name in set(self._lower.children(directory)).difference(names):
                if not self._is_excluded(join(directory, name)):
                    self._found.append(_marker(directory, WHITEOUT_PREFIX + name))

    def _is_excluded(self, path: str) -> bool:
        return self._exclude is not None and self._exclude(path)

    def _look_at(self, path: str, *, is_new: bool) -> None:
        directory_fd, name = self._directory(parent_of(path)), name_of(path)
        status = None if directory_fd is None else stat_name(directory_fd, name)
        if directory_fd is None or status is None:
            return
        xattrs = read_xattrs(directory_fd, name)
        if self._is_whiteout(status, xattrs):
            if self._lower is None or self._lower.lookup(path) is not None:
                self._found.append(_marker(parent_of(path), WHITEOUT_PREFIX + name))
            return
        entry = describe_with(directory_fd, name, path, status, xattrs)
        if entry is None:
            return
        if entry.kind is Kind.DIRECTORY:
            self._add_directory(entry, is_new=is_new or xattrs.get(self._opaque_key) == b"y")
        else:
            self._files[path] = _File(entry, status, partial(open_regular, self._upper_fd, path))

    def _changed_files(self) -> Iterator[LayerItem]:
        """What is no directory, but for what is as before."""
        lower = self._lower
        unchanged = find_unchanged(self._names(lower), lambda: lower) if lower is not None else set()
        links = HardLinks()
        for path in sorted(self._files.keys() - unchanged, key=sort_key):
            file = self._files[path]
            yield links.item(file.entry, file.status, file.open_content)

    def _names(self, lower: Tree) -> Iterator[Name]:
        for path, file in self._files.items():
            before = lower.lookup(path)
            has_links = file.status.st_nlink > 1
            yield Name(
                path,
                looks_same=before == file.entry,
                open_content=file.open_content if file.entry.size else None,
                group=(file.status.st_dev, file.status.st_ino) if has_links else None,
                group_before=lower.link_group(path) if has_links and before is not None else None,
            )

    def _add_directory(self, entry: Entry, *, is_new: bool) -> None:
        before = None if self._lower is None else self._lower.lookup(entry.path)
        if before is None or not _same_directory(before, entry):
            self._found.append(LayerItem(entry))
        else:
            self._unchanged[entry.path] = entry
        if is_new and self._lower is None:
            self._found.append(_marker(entry.path, OPAQUE_MARKER))
        self._enter(entry.path, is_new=is_new)

    def _directory(self, path: str) -> int | None:
        """A descriptor of a directory, good until the next call."""
        if self._open is None or self._open[0] != path:
            self._close()
            fd = open_directory(self._upper_fd, path)
            self._open = None if fd is None else (path, fd)
        return None if self._open is None else self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _is_whiteout(self, status: os.stat_result, xattrs: Mapping[str, bytes]) -> bool:
        if stat.S_ISCHR(status.st_mode):
            return status.st_rdev == 0
        return stat.S_ISREG(status.st_mode) and status.st_size == 0 and self._whiteout_key in xattrs


def _same_directory(before: Entry, after: Entry) -> bool:
    """Whether a directory has the metadata of before; its time counts, since a step may have set it."""
    return replace(before, path=after.path) == after


def _marker(directory: str, name: str) -> LayerItem:
    return LayerItem(Entry(path=join(directory, name), kind=Kind.FILE, mode=0o644))
