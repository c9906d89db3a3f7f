"""A part of a tree written to a directory of the machine."""

import errno
import os
import shutil
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path

from knarr.errors import ContextError
from knarr.layers.entry import Entry, Kind
from knarr.layers.paths import join
from knarr.rootfs.tree import Tree

_CHUNK_BYTES = 1024 * 1024
_NOT_OURS_TO_GIVE = (errno.EPERM, errno.EINVAL, errno.ENOTSUP)


def write_tree(source: Tree, path: str, target: Path) -> None:
    """Copy what is at a resolved path of a tree, with all below it, to `target`, which is made.

    `target` lies in a directory that nobody else writes to. Symlinks are copied as they are. Owners and
    attributes that this process may not give are left out, devices too. Raises ContextError, with a part of
    it written.
    """
    try:
        _Writer(source).write(path, target)
    except OSError as error:
        raise ContextError(f"copying /{path} to {target}: {error.strerror}") from error


class _Writer:
    def __init__(self, source: Tree) -> None:
        self._source = source
        self._names: dict[Hashable, Path] = {}
        """The first copy of each file that has several names."""

    def write(self, path: str, target: Path) -> None:
        directories: list[tuple[Entry, Path]] = []
        waiting = [(path, target)]
        while waiting:
            path, target = waiting.pop()
            entry = self._source.lookup(path)
            if entry is None:
                continue
            if entry.kind is Kind.DIRECTORY:
                target.mkdir(0o700)
                directories.append((entry, target))
                waiting += [(join(path, name), target / name) for name in self._source.children(path)]
            else:
                self._write_leaf(entry, target)
        for entry, target in reversed(directories):
            _set_metadata(entry, target)

    def _write_leaf(self, entry: Entry, target: Path) -> None:
        group = self._source.link_group(entry.path)
        if group is not None and group in self._names:
            os.link(self._names[group], target, follow_symlinks=False)
            return
        if entry.kind is Kind.FILE:
            with self._source.open(entry.path) as source, target.open("xb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK_BYTES)
        elif entry.kind is Kind.SYMLINK:
            target.symlink_to(entry.link_target)
        elif entry.kind is Kind.FIFO:
            os.mkfifo(target)
        else:
            return
        _set_metadata(entry, target)
        if group is not None:
            self._names[group] = target


def _set_metadata(entry: Entry, target: Path) -> None:
    """Owner, attributes, mode, time: in this order, since chown clears setuid bits and capabilities."""
    try:
        os.chown(target, entry.uid, entry.gid, follow_symlinks=False)
        for name, value in entry.xattrs.items():
            os.setxattr(target, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NOT_OURS_TO_GIVE:
            raise
    if entry.kind is not Kind.SYMLINK:
        target.chmod(entry.mode)
    with suppress(OSError):
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
