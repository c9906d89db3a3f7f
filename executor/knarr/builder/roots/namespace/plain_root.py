"""A stage's directory where overlayfs is refused: one plain directory, changes found by a scan."""

import os
from collections.abc import Sequence
from pathlib import Path

from knarr.builder.roots.backend import LayerFiller, Process
from knarr.builder.roots.unpacking import unpack_layers
from knarr.layers.entry import LayerItem
from knarr.linux.plain_directory import make_plain_directory
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.mount_points import MountPoint, mount_points_in
from knarr.rootfs.tree import Tree
from knarr.rootfs.unpacking.unpack import OwnerPolicy


class PlainRoot:
    """One directory with the layers in it, which every step writes to."""

    def __init__(self, root: Path, *, owner_policy: OwnerPolicy, hash_content: bool = False) -> None:
        self._root = root
        self._owner_policy = owner_policy
        self._hash_content = hash_content
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._view: DirTree | None = None
        self._is_open = True

    @classmethod
    def extract(
        cls, place: Path, layers: LayerFiller, *, owner_policy: OwnerPolicy, hash_content: bool = False
    ) -> "PlainRoot":
        """Make the directory below `place` with the files of the layers in it.

        With `hash_content`, every scan reads all files.
        """
        root = place / "root"
        place.mkdir(parents=True, exist_ok=True)
        make_plain_directory(root)
        unpack_layers(root, layers, owner_policy=owner_policy)
        return cls(root, owner_policy=owner_policy, hash_content=hash_content)

    @property
    def is_lost(self) -> bool:
        """Never: it is one stage's alone."""
        return False

    def child(self, place: Path) -> None:
        """None: a child stage extracts the layers again."""

    def tree(self) -> Tree:
        """What is there now; valid until the next step."""
        if self._view is None:
            self._view = DirTree(self._root_fd)
        return self._view

    def directory(self) -> Path:
        """Where what is there now lies."""
        return self._root

    def apply(self, fill: LayerFiller) -> None:
        """Write layers that exist already on top."""
        self._drop_view()
        unpack_layers(self._root, fill, owner_policy=self._owner_policy)

    def run(self, process: Process, mount_points: Sequence[MountPoint] = ()) -> list[LayerItem]:
        """Let a process loose on the directory; the result is what it changed.

        `mount_points` are made where the image lacks them.
        """
        self._drop_view()
        before = self._scan()
        with mount_points_in(self._root_fd, mount_points):
            process(self._root)
        return changes(before, self._root_fd, self._scan())

    def close(self) -> None:
        """Close what is open; the directory stays for the caller to remove. May be called again."""
        if self._is_open:
            self._drop_view()
            os.close(self._root_fd)
            self._is_open = False

    def _scan(self) -> Scan:
        return Scan.take(self._root_fd, hash_content=self._hash_content)

    def _drop_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None
