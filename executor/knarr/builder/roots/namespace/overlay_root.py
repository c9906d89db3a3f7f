"""A stage's directory as a stack of overlayfs layers, one upper directory a step."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from knarr.builder.roots.backend import LayerFiller, Process
from knarr.builder.roots.unpacking import unpack_layers
from knarr.layers.entry import LayerItem
from knarr.linux.overlay import copy_root_metadata, mount_overlay, unmount
from knarr.linux.plain_directory import make_plain_directory
from knarr.rootfs.changes.overlay_diff import diff_upper
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.mount_points import (
    MountPoint,
    make_mount_point_directory,
    make_mount_point_layer,
    without_mount_points,
)
from knarr.rootfs.tree import Tree
from knarr.rootfs.unpacking.unpack import OwnerPolicy


class OverlayRoot:
    """The lowest directory holds the extracted layers; every step adds an upper directory, which is its diff.

    An upper directory is never changed after its step, so that a child stage can stand on it.
    """

    def __init__(
        self, place: Path, lowers: Sequence[Path], *, owner_policy: OwnerPolicy, userxattr: bool
    ) -> None:
        self._place = place
        self._lowers = list(lowers)
        self._owner_policy = owner_policy
        self._userxattr = userxattr
        self._steps = 0
        self._view: _View | None = None
        self._upper_fd: int | None = None
        place.mkdir(parents=True, exist_ok=True)

    @classmethod
    def extract(
        cls, place: Path, layers: LayerFiller, *, owner_policy: OwnerPolicy, userxattr: bool
    ) -> "OverlayRoot":
        """Make the lowest directory below `place` with the files of the layers in it."""
        base = place / "base"
        place.mkdir(parents=True, exist_ok=True)
        make_plain_directory(base)
        unpack_layers(base, layers, owner_policy=owner_policy)
        return cls(place, [base], owner_policy=owner_policy, userxattr=userxattr)

    @property
    def is_lost(self) -> bool:
        """Never: it is one stage's alone."""
        return False

    def child(self, place: Path) -> "OverlayRoot":
        """A root for a stage that starts where this one ended; both go on apart."""
        return OverlayRoot(place, self._lowers, owner_policy=self._owner_policy, userxattr=self._userxattr)

    def tree(self) -> Tree:
        """What is there now; valid until the next step."""
        if self._view is None:
            self._view = _View(self._lowers, self._place / "view", userxattr=self._userxattr)
        return self._view.tree

    def directory(self) -> Path:
        """Where what is there now can be seen, not changed; valid until the next step."""
        if self._view is None:
            self.tree()
        assert self._view is not None
        return self._view.path

    def apply(self, fill: LayerFiller) -> None:
        """Write layers that exist already on top."""
        self.close()
        with self._mounted(()) as (merged, upper):
            unpack_layers(merged, fill, owner_policy=self._owner_policy)
        self._lowers.insert(0, upper)

    def run(self, process: Process, mount_points: Sequence[MountPoint] = ()) -> list[LayerItem]:
        """Let a process loose on the merged directory; the result is what it changed.

        The contents of the items can be opened until the next step. Mount points that the image lacks come
        from directories of their own, so that they never show in the changes: those of every step from one
        below all others, `mount_points`, which are this step's, from one above.
        """
        above = [self._mount_point_layer(mount_points)] if mount_points else []
        self.close()
        with self._mounted([self._own_mount_points()], above) as (merged, upper):
            process(merged)
        before = self.tree()
        self._upper_fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        changes = diff_upper(self._upper_fd, lower=before, userxattr=self._userxattr)
        items = without_mount_points(list(changes), mount_points)
        self._drop_view()
        self._lowers.insert(0, upper)
        return items

    def close(self) -> None:
        """Unmount, close what is open; the directories stay for the caller to remove. May be called again."""
        self._drop_view()
        if self._upper_fd is not None:
            os.close(self._upper_fd)
            self._upper_fd = None

    def _drop_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    @contextmanager
    def _mounted(self, below: Sequence[Path], above: Sequence[Path] = ()) -> Iterator[tuple[Path, Path]]:
        self._steps += 1
        upper, work = self._place / f"upper{self._steps}", self._place / f"work{self._steps}"
        merged = self._place / "merged"
        for path in (upper, work, merged):
            path.mkdir(exist_ok=True)
        copy_root_metadata(self._lowers[0], upper)
        lowers = [*above, *self._lowers, *below]
        mount_overlay(lowers, upper, work, merged, userxattr=self._userxattr, volatile=True)
        try:
            yield merged, upper
        finally:
            unmount(merged)

    def _own_mount_points(self) -> Path:
        mount_points = self._place / "mount-points"
        if not mount_points.exists():
            make_mount_point_directory(mount_points)
        return mount_points

    def _mount_point_layer(self, mount_points: Sequence[MountPoint]) -> Path:
        path = self._place / f"mount-points{self._steps}"
        make_mount_point_layer(path, mount_points, self.tree())
        return path


class _View:
    """A read-only view of stacked directories."""

    def __init__(self, lowers: Sequence[Path], target: Path, *, userxattr: bool) -> None:
        self._mount = target if len(lowers) > 1 else None
        if self._mount is not None:
            target.mkdir(exist_ok=True)
            mount_overlay(lowers, None, None, target, userxattr=userxattr)
        self.path = self._mount or lowers[0]
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.tree = DirTree(self._fd)

    def close(self) -> None:
        self.tree.close()
        os.close(self._fd)
        if self._mount is not None:
            unmount(self._mount)
