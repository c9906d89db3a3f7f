"""A stage's directory where overlayfs is refused: one plain directory, changes found by a scan."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from knarr.layers.entry import LayerItem
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.mount_points import MountPoint, mount_points_in
from knarr.rootfs.scan import Scan, changes
from knarr.rootfs.tree import Tree

Apply = Callable[[Path], None]


class PlainRoot:
    """The layers extracted into one directory that every step writes to."""

    def __init__(self, root: Path, *, hash_content: bool = False) -> None:
        self._root = root
        self._hash_content = hash_content
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._view: DirTree | None = None

    @classmethod
    def extract(cls, directory: Path, apply: Apply, *, hash_content: bool = False) -> "PlainRoot":
        """Make the directory by `apply`, which writes the image's layers into it.

        With `hash_content`, every scan reads all files.
        """
        root = directory / "root"
        root.mkdir(parents=True, mode=0o755)
        apply(root)
        return cls(root, hash_content=hash_content)

    def child(self, directory: Path) -> None:
        """None: a child stage extracts the layers again."""

    def tree(self) -> Tree:
        """What is there now; valid until the next step."""
        if self._view is None:
            self._view = DirTree(self._root_fd)
        return self._view

    def directory(self) -> Path:
        """Where what is there now lies."""
        return self._root

    def apply(self, apply: Apply) -> None:
        """Write a layer that is known already on top."""
        self._drop_view()
        apply(self._root)

    def run(
        self, process: Callable[[Path], None], mount_points: Sequence[MountPoint] = ()
    ) -> list[LayerItem]:
        """Let a process loose on the directory; the result is what it changed.

        `mount_points` are mount points that the image lacks.
        """
        self._drop_view()
        before = self._scan()
        with mount_points_in(self._root_fd, mount_points):
            process(self._root)
        return changes(before, self._root_fd, self._scan())

    def close(self) -> None:
        """Close what is open; the directory stays for the caller to remove."""
        self._drop_view()
        os.close(self._root_fd)

    def _scan(self) -> Scan:
        return Scan.take(self._root_fd, hash_content=self._hash_content)

    def _drop_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None
