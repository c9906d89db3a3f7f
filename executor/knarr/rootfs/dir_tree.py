"""A directory on disk as a root file system.

Nothing here leaves the directory: each way to a file is opened below its descriptor with symlinks refused,
so a path that was resolved and is swapped for a link afterwards is an error and not an escape.
"""

import os
import stat
from collections.abc import Callable, Hashable, Iterable
from contextlib import ExitStack
from typing import BinaryIO

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.ignore.states import IgnoreState
from knarr.errors import ContextError
from knarr.layers.entry import Entry
from knarr.layers.paths import join, name_of, parent_of
from knarr.rootfs.inode import describe, stat_name
from knarr.rootfs.open_inside import open_directory, open_regular
from knarr.rootfs.tree import resolve_links

_LONG_PATH = 900
"""Characters of a path that is opened in several steps; Linux takes 4095 bytes, at most four a character."""
_LONGEST_NAME = 255


class DirTree:
    """The directory open as `root_fd`, which stays the caller's and must outlive this.

    What `ignore` excludes is not there for anyone who looks; a directory that is excluded is there where
    something in it is not. What `hides` says of a path goes for that path alone. The last directory looked
    into stays open: make a new tree, or call `close`, when something else may have moved directories.
    """

    def __init__(
        self,
        root_fd: int,
        *,
        ignore: IgnorePatterns | None = None,
        hides: Callable[[str], bool] | None = None,
    ) -> None:
        self._root_fd = root_fd
        self._hides = hides
        self._states: dict[str, IgnoreState] = {} if ignore is None else {"": ignore.start()}
        """What the patterns say of directories that were looked into."""
        self._shown: dict[str, bool] = {}
        """Whether an excluded directory is there, for those that were looked through."""
        self._open: tuple[str, int] | None = None

    def close(self) -> None:
        """Close what this opened for itself; the tree may be used on."""
        self._shown.clear()
        self._close_last()

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
        if path and not self._shows(path, name, status):
            return None
        try:
            return describe(directory_fd, name, path, status)
        except FileNotFoundError:  # removed meanwhile
            return None

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """See `Tree.resolve`."""
        return resolve_links(self.lookup, path, follow_last=follow_last)

    def children(self, path: str) -> list[str]:
        """See `Tree.children`."""
        names = self._names(path)
        if self._hides is not None:
            names = [name for name in names if not self._hides(join(path, name))]
        state = self._state(path)
        if state is None or (state.is_settled and not state.excluded):
            return names
        found = [(name, state.into(name)) for name in names]
        shown = [name for name, below in found if not below.excluded]
        unsettled = {name: below for name, below in found if below.excluded and not below.is_settled}
        if unsettled:
            directories = {name for name, is_directory in self._typed_names(path) if is_directory}
            shown += [
                name
                for name, below in unsettled.items()
                if name in directories and self._leads_somewhere(join(path, name), below)
            ]
            shown.sort()
        return shown

    def excludes_below(self, path: str) -> bool:
        """Whether something in a directory, at any depth, is excluded."""
        waiting = [path]
        while waiting:
            directory = waiting.pop()
            state = self._state(directory)
            if state is None or (state.is_settled and not state.excluded):
                continue
            for name, is_directory in self._typed_names(directory):
                if state.into(name).excluded:
                    return True
                if is_directory:
                    waiting.append(join(directory, name))
        return False

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
        if len(path) < _LONG_PATH:
            return open_regular(self._root_fd, path)
        directory_fd = self._directory(parent_of(path))
        if directory_fd is None:
            raise ContextError(f"opening /{path}: no such file")
        return open_regular(directory_fd, name_of(path))

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
        opened = self._open_directory(path)
        if opened is not None:
            self._close_last()
            self._open = (path, opened)
        return opened

    def _names(self, path: str) -> list[str]:
        fd = self._open_directory(path, readable=True)
        if fd is None:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _close_last(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _typed_names(self, path: str) -> list[tuple[str, bool]]:
        """The names in a directory, each with whether it is a directory."""
        fd = self._open_directory(path, readable=True)
        if fd is None:
            return []
        try:
            with os.scandir(fd) as found:
                return [(each.name, each.is_dir(follow_symlinks=False)) for each in found]
        finally:
            os.close(fd)

    def _open_directory(self, path: str, *, readable: bool = False) -> int | None:
        """See `open_directory`; a path that is too long for a system call is opened in several steps."""
        with ExitStack() as opened:
            at: int | None = self._root_fd
            while at is not None and len(path) >= _LONG_PATH:
                start, path = _split(path)
                at = open_directory(at, start)
                if at is not None:
                    opened.callback(os.close, at)
            return None if at is None else open_directory(at, path, readable=readable)

    def _shows(self, path: str, name: str, status: os.stat_result) -> bool:
        if self._hides is not None and self._hides(path):
            return False
        above = self._state(parent_of(path))
        if above is None:
            return True
        state = above.into(name)
        if not state.excluded:
            return True
        return not state.is_settled and stat.S_ISDIR(status.st_mode) and self._leads_somewhere(path, state)

    def _leads_somewhere(self, path: str, state: IgnoreState) -> bool:
        """Whether something in an excluded directory is not excluded; looks no further than it must."""
        if path in self._shown:
            return self._shown[path]
        # Without recursion: a context may have any depth.
        levels = [(path, state, iter(self._typed_names(path)))]
        while levels:
            directory, above, names = levels[-1]
            name, is_directory = next(names, ("", False))
            if not name:
                self._shown[directory] = False
                levels.pop()
                continue
            below = join(directory, name)
            state = above.into(name)
            if not state.excluded or self._shown.get(below, False):
                self._shown.update((each, True) for each, _, _ in levels)
                return True
            if is_directory and not state.is_settled and below not in self._shown:
                levels.append((below, state, iter(self._typed_names(below))))
        return False

    def _state(self, directory: str) -> IgnoreState | None:
        """What the patterns say of a directory; None where there are none."""
        if not self._states:
            return None
        if (known := self._states.get(directory)) is not None:
            return known
        names: list[str] = []
        while (state := self._states.get(directory)) is None:
            names.append(name_of(directory))
            directory = parent_of(directory)
        for name in reversed(names):
            state = state.into(name)
            directory = join(directory, name)
            self._states[directory] = state
        return state


def _split(path: str) -> tuple[str, str]:
    """A long path as one that a system call takes, and the rest."""
    cut = path.find("/", _LONG_PATH - _LONGEST_NAME)
    return (path, "") if cut < 0 else (path[:cut], path[cut + 1 :])
