"""The files of a tree, as an archive's items, or written into a directory of the machine."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from knarr.errors import OutputError
from knarr.layers.entry import NO_XATTRS, Entry, Kind, LayerItem
from knarr.layers.paths import join
from knarr.rootfs.paths import DirectoryCache, remove_tree
from knarr.rootfs.tree import Tree

_CHUNK_BYTES = 1024 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NODE_TYPES = {Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


def items_of(tree: Tree, *, mtime_ns: int | None = None) -> Iterator[LayerItem]:
    """All that is below the root, names of a directory in order, each directory before what is in it.

    The later names of one file are hard links to the first. `mtime_ns` is the time of everything, where
    given. The contents of files are to be read while the tree is what it was.
    """
    first_names: dict[Hashable, str] = {}
    for path in _paths(tree):
        entry = tree.lookup(path)
        if entry is None:
            continue
        if mtime_ns is not None:
            entry = replace(entry, mtime_ns=mtime_ns)
        group = tree.link_group(path)
        first = first_names.setdefault(group, path) if group is not None else path
        if first != path:
            link = replace(
                entry, kind=Kind.HARDLINK, size=0, link_target=first, xattrs=NO_XATTRS, device=(0, 0)
            )
            yield LayerItem(link)
        else:
            yield LayerItem(entry, partial(tree.open, path) if entry.size else None)


def _paths(tree: Tree) -> Iterator[str]:
    """Without recursion: an image may have any depth."""
    waiting = sorted(tree.children(""), reverse=True)
    while waiting:
        path = waiting.pop()
        yield path
        waiting += [join(path, name) for name in sorted(tree.children(path), reverse=True)]


def write_items(items: Iterator[LayerItem], target: Path) -> None:
    """Write files into a directory, which is made where it is missing, as this process's own.

    All is written beside first, in a directory inside, then moved into place: until then nothing of the
    target is touched, and a block that raises leaves it so. What is there stays, but for what has the name of
    a file that is written: of two directories one is made, anything else is replaced. No link in the target
    is followed. Raises OSError, OutputError.
    """
    made = _make(target)
    try:
        new = Path(tempfile.mkdtemp(prefix=".knarr-", dir=target))
        try:
            _Writer(new).write(items)
            _Merge(new, target).run()
        finally:
            _remove(target, new.name)
    except BaseException:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()
        raise


def _make(target: Path) -> list[Path]:
    missing = [each for each in (target, *target.parents) if not each.exists()]
    target.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _remove(directory: Path, name: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            remove_tree(fd, name)
    finally:
        os.close(fd)


class _Writer:
    """Writes into a directory that is new and nobody else's."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._owner = (os.geteuid(), os.getegid())
        self._directories: list[Entry] = []

    def write(self, items: Iterator[LayerItem]) -> None:
        fd = os.open(self._root, _DIRECTORY)
        parents = DirectoryCache(fd)
        try:
            for item in items:
                parent, _, name = item.entry.path.rpartition("/")
                self._make(parents.get(parent, create=False).fd, name, item, fd)
            parents.forget()
            for entry in reversed(self._directories):
                directory = f"/proc/self/fd/{parents.get(entry.path, create=False).fd}"
                os.chmod(directory, entry.mode)
                os.utime(directory, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            parents.forget()
            os.close(fd)

    def _make(self, parent: int, name: str, item: LayerItem, root: int) -> None:
        entry = item.entry
        if entry.kind is Kind.DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._directories.append(entry)
            self._describe(parent, name, entry)
            return
        if entry.kind is Kind.HARDLINK:
            os.link(entry.link_target, name, src_dir_fd=root, dst_dir_fd=parent, follow_symlinks=False)
            return
        if entry.kind is Kind.FILE:
            self._make_file(parent, name, item)
        elif entry.kind is Kind.SYMLINK:
            os.symlink(entry.link_target, name, dir_fd=parent)
        else:
            _make_node(parent, name, entry)
        self._describe(parent, name, entry)

    def _make_file(self, parent: int, name: str, item: LayerItem) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=parent)
        with os.fdopen(fd, "wb") as file:
            if item.open_content is not None:
                with item.open_content() as content:
                    shutil.copyfileobj(content, file, _CHUNK_BYTES)

    def _describe(self, parent: int, name: str, entry: Entry) -> None:
        """The owner that it has anyway, but for a setgid directory's group; attributes, mode, time."""
        os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)
        path = f"/proc/self/fd/{parent}/{name}"
        for key, value in entry.xattrs.items():
            with suppress(OSError):  # what the file system lacks, or this process may not set
                os.setxattr(path, key, value, follow_symlinks=False)
        if entry.kind is Kind.DIRECTORY:
            return  # files are still to come
        if entry.kind is not Kind.SYMLINK:
            os.chmod(path, entry.mode)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _make_node(parent: int, name: str, entry: Entry) -> None:
    try:
        os.mknod(name, _NODE_TYPES[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=parent)
    except PermissionError as error:
        raise OutputError(
            f"the image has a device, /{entry.path}, that can't be made here: {error.strerror}",
            hint="--output type=tar keeps it, or build as root",
        ) from error


class _Merge:
    """Moves what is in one directory into another, on the same file system."""

    def __init__(self, new: Path, target: Path) -> None:
        self._new = new
        self._target = target

    def run(self) -> None:
        source = os.open(self._new, _DIRECTORY)
        # The target itself may be reached by a link: the user named it.
        target = os.open(self._target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._merge(source, target)
        finally:
            os.close(source)
            os.close(target)

    def _merge(self, source: int, target: int) -> None:
        """Recursion is as deep as what was in the target before."""
        for name in sorted(os.listdir(source)):
            found = _lstat(name, target)
            new = os.stat(name, dir_fd=source, follow_symlinks=False)
            if found is not None and stat.S_ISDIR(found.st_mode) and stat.S_ISDIR(new.st_mode):
                self._merge_directories(name, source, target, new)
                continue
            if found is not None and stat.S_ISDIR(found.st_mode) != stat.S_ISDIR(new.st_mode):
                remove_tree(target, name)
            self._move(name, source, target, new)

    def _merge_directories(self, name: str, source: int, target: int, new: os.stat_result) -> None:
        below, into = (os.open(name, _DIRECTORY, dir_fd=each) for each in (source, target))
        try:
            self._merge(below, into)
            os.fchown(into, new.st_uid, new.st_gid)
            os.fchmod(into, stat.S_IMODE(new.st_mode))
            os.utime(into, ns=(new.st_mtime_ns, new.st_mtime_ns))
        finally:
            os.close(below)
            os.close(into)

    def _move(self, name: str, source: int, target: int, new: os.stat_result) -> None:
        try:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno == errno.EACCES and stat.S_ISDIR(new.st_mode):
                # A directory that can't be written to can't be moved by who is not root: its ".." changes.
                path = f"/proc/self/fd/{source}/{name}"
                os.chmod(path, 0o700)
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
                os.chmod(f"/proc/self/fd/{target}/{name}", stat.S_IMODE(new.st_mode))
            else:
                raise
        if stat.S_ISDIR(new.st_mode):
            times = (new.st_mtime_ns, new.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


def _lstat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
