"""The mounts of a step where nothing can be mounted: things moved into their places while it runs."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from knarr.builder.roots.inplace.own_files import open_root
from knarr.builder.roots.inplace.root import SharedRoot
from knarr.errors import IsolationError
from knarr.exec.spec import Mount
from knarr.layers.paths import name_of, parent_of
from knarr.linux.mounts import read_mount_points
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.paths import remove_tree, resolve_directory
from knarr.rootfs.write_tree import write_tree

_TMPFS_MODE = 0o1777
_DEVICES = "dev/"
_ELSEWHERE = "mount it somewhere else, or use --isolation=namespace"


@contextmanager
def moved_in(shared: SharedRoot, mounts: Sequence[Mount]) -> Iterator[None]:
    """Have the sources at their targets until the block ends, then everything where it was.

    A source is moved, or copied where it lies on another file system; what a step writes to it stays in it,
    as it would in a mount, and nothing is read-only. An agent's socket is linked to. Raises IsolationError,
    also where the step has moved a place, or a directory that a volume is mounted in.
    """
    with _volumes_stay(), ExitStack() as exits:
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
                hint=_ELSEWHERE,
            )
        self._refuse_to_move_what_is_kept()
        for path in self._missing_parents():
            self._change(path, lambda directory, name: os.mkdir(name, 0o755, dir_fd=directory))
            exits.callback(self._undo, path, _remove_empty)
        self._shared.covered.add(self._path)
        if os.path.lexists(self._target):
            self._aside.parent.mkdir(exist_ok=True)
            self._change(self._path, lambda *_: _move(self._target, self._aside))
            exits.callback(self._undo, self._path, lambda *_: _move_back(self._aside, self._target))
        self._put(exits)

    def _refuse_to_move_what_is_kept(self) -> None:
        """Moving a directory would move, or copy and empty, the volumes mounted in it."""
        kept = self._shared.protection.below(self._path)
        if kept is None and self._path.startswith(_DEVICES) and os.path.lexists(self._target):
            kept = self._path
        if kept is not None:
            raise IsolationError(
                f"a step can't mount at {self._mount.target}: /{kept} there is this container's own",
                hint=_ELSEWHERE,
            )

    def _put(self, exits: ExitStack) -> None:
        source = self._mount.source
        if source is None:
            self._change(self._path, lambda *_: self._make_memory())
        elif stat.S_ISSOCK(source.stat().st_mode):
            self._change(self._path, lambda directory, name: os.symlink(source, name, dir_fd=directory))
        else:
            self._change(self._path, lambda *_: _move(source, self._target))
            exits.callback(self._undo, self._path, lambda *_: _move_back(self._target, source))
            return
        exits.callback(self._undo, self._path, _remove)

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
            directory = resolve_directory(root_fd, parent_of(path))
            try:
                if directory.path != parent_of(path):
                    raise NotADirectoryError(errno.ENOTDIR, "a link is in its place", f"/{parent_of(path)}")
                before = os.fstat(directory.fd)
                change(directory.fd, name_of(path))
                os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=directory.fd)
            finally:
                os.close(directory.fd)

    def _undo(self, path: str, change: Callable[[int, str], object]) -> None:
        """The same after the step, which may have put something else where the places were."""
        try:
            self._change(path, change)
        except OSError as error:
            raise IsolationError(
                f"can't take away what a step had at {self._mount.target}: {error.strerror}",
                hint="a step that has something mounted can't move or remove the directories above it",
            ) from error


@contextmanager
def _volumes_stay() -> Iterator[None]:
    """Raises IsolationError at the end of the block where something is mounted at another path than before.

    A directory can be renamed with volumes mounted in it, and nothing would protect them where they are then.
    """
    before = read_mount_points()
    yield
    moved = sorted(read_mount_points() - before)
    if moved:
        gone = ", ".join(sorted(before - read_mount_points()))
        raise IsolationError(
            f"the step has moved a volume of this container, from {gone} to {', '.join(moved)}",
            hint="mount the volume somewhere else, out of the way of what the step renames",
        )


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
        with open_root(source.parent) as directory:
            remove_tree(directory, source.name)


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
