"""The mounts of a step where nothing can be mounted: things moved into their places while it runs."""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from knarr.build.inplace_root import SharedRoot
from knarr.errors import IsolationError
from knarr.exec.spec import Mount
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.paths import open_parent, remove_tree
from knarr.rootfs.write_tree import write_tree

_TMPFS_MODE = 0o1777
_DEVICES = "dev/"


@contextmanager
def moved_in(shared: SharedRoot, mounts: Sequence[Mount]) -> Iterator[None]:
    """Have the sources at their targets until the block ends, then everything where it was.

    A source is moved, or copied where it lies on another file system; what a step writes to it stays in it,
    as it would in a mount, and nothing is read-only. An agent's socket is linked to. Raises IsolationError.
    """
    with ExitStack() as exits:
        for number, mount in enumerate(mounts):
            try:
                _Place(shared, mount, shared.aside / str(number)).fill(exits)
            except OSError as error:
                raise IsolationError(
                    f"can't put what a step mounts at {mount.target} there: {error.strerror}",
                    hint="in place a mount is a file or directory that is moved",
                ) from error
        yield


class _Place:
    """One target."""

    def __init__(self, shared: SharedRoot, mount: Mount, aside: Path) -> None:
        self._mount = mount
        self._shared = shared
        self._root = shared.root
        self._path = shared.resolve(str(mount.target))
        self._target = shared.root / self._path
        self._aside = aside

    def fill(self, exits: ExitStack) -> None:
        """Put the source there; `exits` gets what undoes it."""
        place = self._shared.protection.covering(self._path)
        if place is not None and not self._path.startswith(_DEVICES):
            raise IsolationError(
                f"a step can't mount at {self._mount.target}: /{place} is this container's own",
                hint="mount it somewhere else, or use --isolation=namespace",
            )
        for path in self._missing_parents():
            self._change(path, lambda directory, name: os.mkdir(name, 0o755, dir_fd=directory))
            exits.callback(self._change, path, _remove_empty)
        self._shared.covered.add(self._path)
        if os.path.lexists(self._target):
            self._aside.parent.mkdir(exist_ok=True)
            self._change(self._path, lambda *_: _move(self._target, self._aside))
            exits.callback(self._change, self._path, lambda *_: _move_back(self._aside, self._target))
        self._put(exits)

    def _put(self, exits: ExitStack) -> None:
        source = self._mount.source
        if source is None:
            self._change(self._path, lambda *_: self._make_memory())
        elif stat.S_ISSOCK(source.stat().st_mode):
            self._change(self._path, lambda directory, name: os.symlink(source, name, dir_fd=directory))
        else:
            self._change(self._path, lambda *_: _move(source, self._target))
            exits.callback(self._change, self._path, lambda *_: _move_back(self._target, source))
            return
        exits.callback(self._change, self._path, _remove)

    def _make_memory(self) -> None:
        """A directory, which is on disk here."""
        modes = [text.removeprefix("mode=") for text in self._mount.options if text.startswith("mode=")]
        self._target.mkdir()
        self._target.chmod(int(modes[0], 8) if modes else _TMPFS_MODE)

    def _missing_parents(self) -> list[str]:
        above = [str(path) for path in Path(self._path).parents if str(path) != "."]
        return [path for path in reversed(above) if not os.path.lexists(self._root / path)]

    def _change(self, path: str, change: Callable[[int, str], object]) -> None:
        """Change what a path names, without a trace in the times of its directory."""
        with self._shared.open() as root_fd:
            directory, name = open_parent(root_fd, path)
            try:
                before = os.fstat(directory)
                change(directory, name)
                os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=directory)
            finally:
                os.close(directory)


def _remove(directory: int, name: str) -> None:
    with suppress(FileNotFoundError):
        remove_tree(directory, name)


def _remove_empty(directory: int, name: str) -> None:
    """Remove a directory that was made, unless the step has put something there."""
    with suppress(OSError):
        os.rmdir(name, dir_fd=directory)


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        if source.is_dir() and not source.is_symlink():
            shutil.rmtree(source)
        else:
            source.unlink()


def _move_back(source: Path, target: Path) -> None:
    """Undo a move, unless the step has removed what was moved."""
    if os.path.lexists(source):
        _move(source, target)


def _copy(source: Path, target: Path) -> None:
    directory = os.open(source.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with DirTree(directory) as tree:
            write_tree(tree, source.name, target)
    finally:
        os.close(directory)
