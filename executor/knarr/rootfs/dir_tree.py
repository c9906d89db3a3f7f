"""A directory on disk as a root file system.

Nothing here leaves the directory: each way to a file is opened below its descriptor with symlinks refused,
so a path that was resolved and is swapped for a link afterwards is an error and not an escape.
"""

import os
import stat
from collections.abc import Hashable, Iterable
from typing import BinaryIO

from knarr.layers.entry import Entry
from knarr.layers.paths import join, name_of, parent_of
from knarr.rootfs.inode import describe, stat_name
from knarr.rootfs.open_inside import open_directory, open_regular
from knarr.rootfs.tree import PathFilter, resolve_links


class DirTree:
    """The directory open as `root_fd`, which stays the caller's and must outlive this.

    What `ignore` excludes is not there for anyone who looks; a directory that is excluded is there where
    something in it is not. The last directory looked into stays open: make a new tree, or call `close`,
    when something else may have moved directories.
    """

    def __init__(self, root_fd: int, *, ignore: PathFilter | None = None) -> None:
        self._root_fd = root_fd
        self._ignore = ignore
        self._open: tuple[str, int] | None = None

    def close(self) -> None:
        """Close what this opened for itself; the tree may be used on."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def __enter__(self) -> "DirTree":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lookup(self, path: str) -> Entry | None:
        """See `Tree.lookup`; None for a socket too."""
        found = self._status(path)
        if found is None:
            return None
        directory_fd, name, status = found
        if not self._shows(path, status):
            return None
        return describe(directory_fd, name, path, status)

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """See `Tree.resolve`."""
        return resolve_links(self.lookup, path, follow_last=follow_last)

    def children(self, path: str) -> list[str]:
        """See `Tree.children`."""
        names = self._names(path)
        if self._ignore is None:
            return names
        return [name for name in names if self._shows(join(path, name), None)]

    def link_group(self, path: str) -> Hashable | None:
        """See `Tree.link_group`."""
        found = self._status(path)
        if found is None or found[2].st_nlink < 2:
            return None
        return found[2].st_dev, found[2].st_ino

    def prepare(self, paths: Iterable[str]) -> None:
        """Nothing to do: the files are there."""

    def open(self, path: str) -> BinaryIO:
        """See `Tree.open`. Raises ContextError for anything but a regular file, and never opens that."""
        return open_regular(self._root_fd, path)

    def _status(self, path: str) -> tuple[int, str, os.stat_result] | None:
        """A directory's descriptor, a name in it and the name's status; None where there is none."""
        if path:
            directory_fd, name = self._directory(parent_of(path)), name_of(path)
        else:
            directory_fd, name = self._root_fd, "."
        if directory_fd is None:
            return None
        status = stat_name(directory_fd, name)
        return None if status is None else (directory_fd, name, status)

    def _directory(self, path: str) -> int | None:
        if not path:
            return self._root_fd
        if self._open is not None and self._open[0] == path:
            return self._open[1]
        opened = open_directory(self._root_fd, path)
        if opened is not None:
            self.close()
            self._open = (path, opened)
        return opened

    def _names(self, path: str) -> list[str]:
        fd = open_directory(self._root_fd, path, readable=True)
        if fd is None:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _shows(self, path: str, status: os.stat_result | None) -> bool:
        if self._ignore is None or not path or not self._ignore.excludes(path):
            return True
        if not self._ignore.may_include_below(path):
            return False
        if status is None:
            found = self._status(path)
            status = None if found is None else found[2]
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
        return any(self._shows(join(path, name), None) for name in self._names(path))
