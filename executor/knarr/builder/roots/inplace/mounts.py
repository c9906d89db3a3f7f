"""The mounts of a step where nothing can be mounted: sources are moved to their targets while it runs."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from knarr.builder.roots.inplace.own_files import open_root, resolve_inside
from knarr.errors import IsolationError
from knarr.exec.spec import RootMount
from knarr.layers.paths import name_of, parent_of
from knarr.linux.mounts import read_mount_points
from knarr.linux.plain_directory import make_plain_directory
from knarr.rootfs.copying.write_tree import write_tree
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.paths import make_implicit, remove_tree, resolve_directory
from knarr.rootfs.unpacking.protection import Protection

_TMPFS_MODE = 0o1777
_DEVICES = "dev/"
_ELSEWHERE = "mount it somewhere else, or use --isolation=namespace"


@contextmanager
def moved_in(
    root: Path, mounts: Sequence[RootMount], protection: Protection, aside: Path
) -> Iterator[frozenset[str]]:
    """Have the sources at their targets until the block ends, then everything where it was.

    The block gets the paths inside the root that are covered. A source is moved, or copied where it lies on
    another file system; what a step writes to it stays in it, as it would in a mount, and nothing is
    read-only. An agent's socket is linked to. What lies at a target waits in `aside`, which is made. Raises
    IsolationError, also where the step has moved a place, or a directory that a volume is mounted in.
    """
    covered: set[str] = set()
    with _volumes_stay(root), ExitStack() as exits:
        for number, mount in enumerate(mounts):
            try:
                place = _Place(root, mount, protection, aside / str(number))
                place.fill(exits)
            except OSError as error:
                raise IsolationError(
                    f"can't put what a step mounts at {mount.target} there: {error.strerror}",
                    hint="in place a mount is a file or directory that is moved",
                ) from error
            covered.add(place.path)
        yield frozenset(covered)


class _Place:
    """One target."""

    def __init__(self, root: Path, mount: RootMount, protection: Protection, aside: Path) -> None:
        self._mount = mount
        self._protection = protection
        self._root = root
        self.path = resolve_inside(root, str(mount.target))
        self._target = root / self.path
        self._aside = aside

    def fill(self, exits: ExitStack) -> None:
        """Put the source there; `exits` gets what undoes it."""
        place = self._protection.covering(self.path)
        if place is not None and not self.path.startswith(_DEVICES):
            raise IsolationError(
                f"a step can't mount at {self._mount.target}: /{place} is this container's own",
                hint=_ELSEWHERE,
            )
        self._refuse_to_move_what_is_kept()
        for path in self._missing_parents():
            self._change(path, make_implicit)
            exits.callback(self._undo, path, _remove_empty)
        if os.path.lexists(self._target):
            self._aside.parent.mkdir(exist_ok=True)
            self._change(self.path, lambda *_: _move(self._target, self._aside))
            exits.callback(self._undo, self.path, lambda *_: _move_back(self._aside, self._target))
        self._put(exits)

    def _refuse_to_move_what_is_kept(self) -> None:
        """Moving a directory would move, or copy and empty, the volumes mounted in it."""
        kept = self._protection.below(self.path)
        if kept is None and self.path.startswith(_DEVICES) and os.path.lexists(self._target):
            kept = self.path
        if kept is not None:
            raise IsolationError(
                f"a step can't mount at {self._mount.target}: /{kept} there is this container's own",
                hint=_ELSEWHERE,
            )

    def _put(self, exits: ExitStack) -> None:
        source = self._mount.source
        if source is None:
            self._change(self.path, lambda *_: self._make_memory())
        elif stat.S_ISSOCK(source.stat().st_mode):
            self._change(self.path, lambda directory, name: os.symlink(source, name, dir_fd=directory))
        else:
            self._change(self.path, lambda *_: _move(source, self._target))
            exits.callback(self._undo, self.path, lambda *_: _move_back(self._target, source))
            return
        exits.callback(self._undo, self.path, _remove)

    def _make_memory(self) -> None:
        """A directory, which is on disk here."""
        modes = [text.removeprefix("mode=") for text in self._mount.options if text.startswith("mode=")]
        make_plain_directory(self._target, int(modes[0], 8) if modes else _TMPFS_MODE)

    def _missing_parents(self) -> list[str]:
        above = [str(path) for path in Path(self.path).parents if str(path) != "."]
        return [path for path in reversed(above) if not os.path.lexists(self._root / path)]

    def _change(self, path: str, change: Callable[[int, str], object]) -> None:
        """Change what a path names, without a trace in the times of its directory."""
        with open_root(self._root) as root_fd:
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
def _volumes_stay(root: Path) -> Iterator[None]:
    """Raises IsolationError at the end of the block where a mount in the root is at another path than before.

    A directory can be renamed with volumes mounted in it, and nothing would protect them where they are then.
    """
    before = _mounted_in(root)
    yield
    after = _mounted_in(root)
    moved = sorted(after - before)
    if moved:
        gone = ", ".join(sorted(before - after))
        raise IsolationError(
            f"the step has moved a volume of this container, from {gone} to {', '.join(moved)}",
            hint="mount the volume somewhere else, out of the way of what the step renames",
        )


def _mounted_in(root: Path) -> set[str]:
    return {path for path in read_mount_points() if Path(path).is_relative_to(root)}


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
