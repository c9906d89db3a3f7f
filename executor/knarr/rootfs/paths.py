"""Directories of a root file system opened, made, emptied, removed; nothing outside of it is reached.

A path here is relative to a root directory, which is given by a descriptor, and its symbolic links are
followed by the rule of `linux.resolve`.
"""

import contextlib
import enum
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from knarr.layers.paths import join
from knarr.linux.plain_directory import make_plain
from knarr.linux.resolve import resolve_in_root

IMPLICIT_MODE = 0o755
"""Mode of a directory that nothing describes."""

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CACHED_DIRECTORIES = 64

Guard = Callable[[str], None]
"""Called with the path of a directory that is about to be made; may raise to forbid it."""


class Directory(NamedTuple):
    """An open directory with its path after all symbolic links; "" is the root."""

    fd: int
    path: str
    inherits_group: bool
    """Whether what is made in it gets its group (the setgid bit)."""


def resolve_directory(
    root_fd: int, path: str, *, create: bool = False, guard: Guard | None = None
) -> Directory:
    """Open a directory; the caller closes its `fd`, which is good for *at calls only (O_PATH).

    With `create`, missing directories are made, 0755 and owned by us. Raises OSError: ENOENT, ENOTDIR, ELOOP,
    ENAMETOOLONG as the kernel would.
    """
    if not create:
        return _describe(*resolve_in_root(root_fd, path))

    def make_missing(directory_fd: int, name: str, missing: str) -> None:
        if guard is not None:
            guard(missing)
        make_implicit(directory_fd, name)

    return _describe(*resolve_in_root(root_fd, path, make_missing=make_missing))


def open_parent(root_fd: int, path: str, *, create: bool = False) -> tuple[int, str]:
    """The directory that holds `path`, to be closed by the caller, with the last component, not resolved.

    Raises OSError as `resolve_directory`; EINVAL where the last component is missing, "." or "..".
    """
    parent, _, name = path.strip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return resolve_directory(root_fd, parent, create=create).fd, name


def make_directories(root_fd: int, path: str) -> None:
    """Make a directory and those above it where they are missing, 0755 and owned by us."""
    os.close(resolve_directory(root_fd, path, create=True).fd)


def _describe(fd: int, path: str) -> Directory:
    found = os.fstat(fd)
    # A directory of another group: mounted with `grpid`, a file system has each pass its own on.
    return Directory(fd, path, bool(found.st_mode & stat.S_ISGID) or found.st_gid != os.getegid())


def make_implicit(directory_fd: int, name: str) -> None:
    """Make a directory of IMPLICIT_MODE in our group, whatever the umask or a setgid parent say.

    One that is there already is left as it is. Raises OSError.
    """
    try:
        os.mkdir(name, IMPLICIT_MODE, dir_fd=directory_fd)
    except FileExistsError:
        return
    with _opened(os.open(name, _LISTED, dir_fd=directory_fd)) as fd:
        make_plain(fd, IMPLICIT_MODE)


class DirectoryCache:
    """Directories that were opened a short while ago, by the paths that were asked for.

    Archives come in tree order, so most are here already and the others are one component away. Whoever
    removes or replaces a directory or a symbolic link, or sets a setgid bit, calls `forget`.
    """

    def __init__(self, root_fd: int, *, guard: Guard | None = None) -> None:
        self._root_fd = root_fd
        self._guard = guard
        self._open: dict[str, Directory] = {}

    def get(self, path: str, *, create: bool = True) -> Directory:
        """The directory, made where it is missing; good until the next call of any method.

        Raises OSError as `resolve_directory`.
        """
        found = self._open.get(path)
        if found is not None:
            return found
        opened = self._open_below_known(path) or resolve_directory(
            self._root_fd, path, create=create, guard=self._guard
        )
        if len(self._open) >= _CACHED_DIRECTORIES:
            os.close(self._open.pop(next(iter(self._open))).fd)
        self._open[path] = opened
        return opened

    def _open_below_known(self, path: str) -> Directory | None:
        parent, _, name = path.rpartition("/")
        known = self._open.get(parent)
        if known is None or not name:
            return None
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=known.fd)
        except OSError:
            return None
        return _describe(fd, join(known.path, name))

    def forget(self) -> None:
        """Close all."""
        for directory in self._open.values():
            os.close(directory.fd)
        self._open.clear()


class Fate(enum.Enum):
    """What clearing does with a path."""

    REMOVE = "remove"
    DESCEND = "descend"
    """A directory stays but is cleared in turn; anything else stays."""
    KEEP = "keep"


def clear_directory(root_fd: int, path: str, fate: Callable[[str], Fate]) -> None:
    """Remove what is in a directory as far as `fate` of its path allows; the directory itself stays.

    `path` has no symbolic links, and what has become one is left alone.
    """
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        found = resolve_directory(root_fd, directory)
        with _opened(found.fd):
            if found.path == directory:
                with _opened(os.open(".", _LISTED, dir_fd=found.fd)) as fd:
                    kept = _remove_unless(fd, directory, fate)
                waiting += [join(directory, name) for name in kept]


def _remove_unless(fd: int, directory: str, fate: Callable[[str], Fate]) -> list[str]:
    """Remove what may go; the names of directories to descend into."""
    kept: list[str] = []
    for name, is_directory in _list(fd):
        decided = fate(join(directory, name))
        if decided is Fate.REMOVE:
            remove_tree(fd, name)
        elif decided is Fate.DESCEND and is_directory:
            kept.append(name)
    return kept


def _list(fd: int) -> list[tuple[str, bool]]:
    """Names in a directory, with whether they are directories themselves."""
    with os.scandir(fd) as listing:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]


def remove_tree(dir_fd: int, name: str) -> None:
    """Remove a file, or a directory with all in it; follows no link, and any depth takes three descriptors.

    Raises OSError; FileNotFoundError where it is not there. A failure leaves a part of the tree.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
    except IsADirectoryError:
        if not _remove_empty(dir_fd, name):
            _remove_contents(os.open(name, _LISTED, dir_fd=dir_fd))
            os.rmdir(name, dir_fd=dir_fd)


def discard_tree(path: Path) -> None:
    """Remove a directory with all in it, of any depth; what can't be removed stays, and nothing is raised.

    It may hold what an image or a step made, more directories in each other than `shutil` takes.
    """
    with contextlib.suppress(OSError):
        with _opened(os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as parent:
            remove_tree(parent, path.name)
    if os.path.lexists(path):
        with contextlib.suppress(RecursionError):  # past what stands in the way, as far as it goes
            shutil.rmtree(path, ignore_errors=True)


def _remove_contents(fd: int) -> None:
    """Empty a directory, whose descriptor is closed at the end."""
    names: list[str] = []
    above: list[tuple[int, int]] = []
    waiting = [_unlink_files(fd)]
    try:
        while True:
            while waiting[-1]:
                name = waiting[-1].pop()
                if _remove_empty(fd, name):
                    continue
                above.append(_identity(fd))
                names.append(name)
                fd = _replace(fd, os.open(name, _LISTED, dir_fd=fd))
                waiting.append(_unlink_files(fd))
            waiting.pop()
            if not names:
                return
            fd = _replace(fd, os.open("..", _LISTED, dir_fd=fd))
            if _identity(fd) != above.pop():
                raise OSError(errno.ESTALE, "a directory was moved while it was removed", names[-1])
            os.rmdir(names.pop(), dir_fd=fd)
    finally:
        os.close(fd)


def _unlink_files(fd: int) -> list[str]:
    """Remove all but directories, whose names are returned."""
    entries = _list(fd)
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
    return [name for name, is_directory in entries if is_directory]


def _remove_empty(dir_fd: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


@contextlib.contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
