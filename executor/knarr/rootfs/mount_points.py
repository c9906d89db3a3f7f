"""Mount points that a RUN step needs where the image has none: made before it, gone without a trace after."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from knarr.errors import DockerfileError
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.paths import clean, parent_of
from knarr.rootfs.paths import open_parent
from knarr.rootfs.tree import Tree
from knarr.rootfs.unpacking.metadata import Losses, MetadataWriter, OwnerPolicy

_DIRECTORY = stat.S_IFDIR | 0o755
_FILE = stat.S_IFREG | 0o644


class MountPoint(NamedTuple):
    """A path inside the root without symlinks, with the file type and mode bits of what is made there."""

    path: str
    mode: int


STEP_MOUNT_POINTS = (
    MountPoint("dev", _DIRECTORY),
    MountPoint("etc", _DIRECTORY),
    MountPoint("etc/hosts", _FILE),
    MountPoint("etc/resolv.conf", _FILE),
    MountPoint("proc", _DIRECTORY),
    MountPoint("sys", _DIRECTORY),
)
"""What must exist in a root for a step to see all the mounts of `exec.mounts`, parents first."""


def missing_mount_point(tree: Tree, target: str, *, is_directory: bool) -> list[MountPoint]:
    """What has to be made for a mount at `target`, parents first; none where it is there.

    Raises DockerfileError where nothing can be mounted: below a file, a directory over a file.
    """
    resolved = tree.resolve(clean(target))
    missing: list[MountPoint] = []
    path = resolved
    while (entry := tree.lookup(path)) is None:
        missing.append(MountPoint(path, _DIRECTORY if missing or is_directory else _FILE))
        path = parent_of(path)
    wants_directory = bool(missing) or is_directory
    if (entry.kind is Kind.DIRECTORY) is not wants_directory:
        there, here = ("a file", "a directory") if wants_directory else ("a directory", "a file")
        raise DockerfileError(
            f"can't mount at {target}: /{path} is {there} in the image, not {here}",
            hint="a directory can be mounted over a directory only, a file over a file",
        )
    return missing[::-1]


def make_mount_point_directory(path: Path) -> None:
    """Make a directory with the mount points of every step, to lie below all others of an overlay."""
    path.mkdir(mode=0o755)
    for point in STEP_MOUNT_POINTS:
        _make_at(path, point)


def make_mount_point_layer(path: Path, mount_points: Sequence[MountPoint], below: Tree) -> None:
    """Make a directory with mount points to lie on top of `below` in an overlay.

    On top, since a directory that a step has deleted or replaced would hide what lies lower. The
    directories that they are in look as they do in `below`.
    """
    path.mkdir(mode=0o755)
    present: dict[str, Entry] = {}
    made = {name for name, _ in mount_points}
    for name, _ in mount_points:
        above = name
        while (above := parent_of(above)) and above not in made:
            entry = below.lookup(above)
            if entry is not None:
                present[above] = entry
    for name in sorted(present):
        (path / name).mkdir()
    for point in mount_points:
        _make_at(path, point)
    for name in sorted(present, reverse=True):
        _copy_metadata(path / name, present[name])


def without_mount_points(items: Sequence[LayerItem], mount_points: Sequence[MountPoint]) -> list[LayerItem]:
    """The changes without mount points that are as empty as they were made."""
    left = list(items)
    for name, mode in reversed(mount_points):
        is_used = any(item.entry.path.startswith(f"{name}/") for item in left)
        left = [
            item for item in left if is_used or item.entry.path != name or not _is_untouched(item.entry, mode)
        ]
    return left


@contextmanager
def mount_points_in(root_fd: int, more: Sequence[MountPoint] = ()) -> Iterator[None]:
    """Add what is missing to a plain directory; afterwards remove what is still as it was made.

    Times of the directories that they lie in come back, so that a scan sees no difference.
    """
    made: list[tuple[MountPoint, tuple[int, int]]] = []
    try:
        for point in (*STEP_MOUNT_POINTS, *more):
            identity = _make(root_fd, point)
            if identity is not None:
                made.append((point, identity))
        yield
    finally:
        for point, identity in reversed(made):
            with suppress(OSError):
                _remove(root_fd, point, identity)


def _make_at(root: Path, point: MountPoint) -> None:
    name, mode = point
    if stat.S_ISDIR(mode):
        (root / name).mkdir()
    else:
        (root / name).touch()
    (root / name).chmod(stat.S_IMODE(mode))


def _copy_metadata(path: Path, entry: Entry) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # An owner that can't be given was recorded in the image's directory as well.
        MetadataWriter(OwnerPolicy.RECORD, Losses()).apply(descriptor, entry)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(descriptor)


def _is_untouched(entry: Entry, mode: int) -> bool:
    if stat.S_ISDIR(mode):
        return entry.kind is Kind.DIRECTORY
    return entry.kind is Kind.FILE and entry.size == 0


def _make(root_fd: int, point: MountPoint) -> tuple[int, int] | None:
    """The new inode's identity; None where something is there, or nothing can be: the step does without."""
    path, mode = point
    try:
        with _parent(root_fd, path) as (directory, name):
            if stat.S_ISDIR(mode):
                os.mkdir(name, stat.S_IMODE(mode), dir_fd=directory)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, stat.S_IMODE(mode), dir_fd=directory))
            os.chmod(name, stat.S_IMODE(mode), dir_fd=directory)
            return _identity(directory, name)
    except OSError:
        return None


def _remove(root_fd: int, point: MountPoint, identity: tuple[int, int]) -> None:
    path, mode = point
    with _parent(root_fd, path) as (directory, name):
        if _identity(directory, name) != identity:
            return  # the step has put something of its own there, or a link on the way
        if stat.S_ISDIR(mode):
            os.rmdir(name, dir_fd=directory)
        elif os.stat(name, dir_fd=directory, follow_symlinks=False).st_size == 0:
            os.unlink(name, dir_fd=directory)


def _identity(directory: int, name: str) -> tuple[int, int]:
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return found.st_dev, found.st_ino


@contextmanager
def _parent(root_fd: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory that holds a path inside the root, with its times put back at the end."""
    directory, name = open_parent(root_fd, path)
    try:
        before = os.fstat(directory)
        yield directory, name
        os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=directory)
    finally:
        os.close(directory)
