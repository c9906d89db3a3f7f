"""What a step changed in a root directory."""

from collections.abc import Callable
from typing import Protocol

from knarr.layers.entry import LayerItem
from knarr.rootfs.overlay_diff import diff_upper
from knarr.rootfs.scan import Scan, changes
from knarr.rootfs.tree import Tree

Exclude = Callable[[str], bool]
"""True for a path that is dropped with all that is in it: mount points, stubs we made."""


class Snapshot(Protocol):
    """Finds what a step changed."""

    def changes(self) -> list[LayerItem]:
        """The layer of the step: parents first, siblings by name.

        The contents must be read before the next step changes the files.
        """
        ...


class OverlaySnapshot:
    """The upper directory of a mount that is made for one step; see `diff_upper`."""

    def __init__(
        self, upper_fd: int, *, lower: Tree, userxattr: bool = False, exclude: Exclude | None = None
    ) -> None:
        self._upper_fd = upper_fd
        self._lower = lower
        self._userxattr = userxattr
        self._exclude = exclude

    def changes(self) -> list[LayerItem]:
        """See `Snapshot.changes`."""
        diff = diff_upper(self._upper_fd, lower=self._lower, userxattr=self._userxattr, exclude=self._exclude)
        return list(diff)


class ScanSnapshot:
    """One scan after another of a root directory; the first when this is made.

    With `hash_content` every file is read by every scan, as `--snapshot-mode=full` wants it.
    """

    def __init__(self, root_fd: int, *, exclude: Exclude | None = None, hash_content: bool = False) -> None:
        self._root_fd = root_fd
        self._exclude = exclude
        self._hash_content = hash_content
        self._scan = self._take()

    def changes(self) -> list[LayerItem]:
        """What changed since the last call, or since the start; see `Snapshot.changes`."""
        before, self._scan = self._scan, self._take()
        return changes(before, self._root_fd, self._scan)

    def _take(self) -> Scan:
        return Scan.take(self._root_fd, exclude=self._exclude, hash_content=self._hash_content)
