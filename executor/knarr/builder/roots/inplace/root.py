"""The root directory of the container as a stage's directory.

A stage has it until another needs it. What a stage loses is on disk only: all its layers are in the store.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from knarr.builder.roots.backend import LayerFiller, Process
from knarr.builder.roots.inplace.mounts import moved_in
from knarr.builder.roots.inplace.working_directory import working_in
from knarr.builder.roots.step_process import make_working_directory
from knarr.builder.roots.unpacking import unpack_layers
from knarr.exec.spec import RootMount
from knarr.layers.entry import WHITEOUT_PREFIX, LayerItem
from knarr.layers.paths import is_within, join, name_of
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.mount_points import MountPoint, mount_points_in
from knarr.rootfs.tree import Tree
from knarr.rootfs.unpacking.protection import Protection
from knarr.rootfs.unpacking.unpack import PROTECTED, Loss, OwnerPolicy

OnHidden = Callable[[str, str], None]
"""Gets a protected place with the path of a file that it keeps out."""


class ImageFiles:
    """The files of one image in the root directory; the stages that go on from one another share them."""

    def __init__(
        self, root: Path, protection: Protection, on_hidden: OnHidden, *, hash_content: bool
    ) -> None:
        self._root = root
        self._protection = protection
        self._on_hidden = on_hidden
        self._hash_content = hash_content
        self._hidden: set[str] = set()
        """Protected places where the image has files."""

    @property
    def root(self) -> Path:
        """Where they lie."""
        return self._root

    def write(self, layers: LayerFiller) -> None:
        """Write layers on top. Raises what `apply_layer` does."""
        unpack_layers(
            self._root,
            layers,
            owner_policy=OwnerPolicy.KEEP,
            protected=self._protection,
            on_losses=self._note,
        )

    def tree(self, root_fd: int) -> DirTree:
        """What the image has there, without what is protected; the caller closes it."""
        return DirTree(root_fd, hides=self._protection.excludes)

    def scan(self, root_fd: int, covered: frozenset[str]) -> Scan:
        """All that may belong to the image, but for paths that a step has something else in place of."""
        leaves_out = self._protection.leaves_out
        return Scan.take(
            root_fd,
            exclude=(lambda path: leaves_out(path) or is_within(path, covered)) if covered else leaves_out,
            hash_content=self._hash_content,
            enters=self._protection.lent,
        )

    def take_in(self, changed: Sequence[LayerItem]) -> list[LayerItem]:
        """Make changes the image's; the result is without directories that the image has no part in.

        Such a directory becomes the image's where a step has put something into it.
        """
        used = {
            str(above)
            for item in changed
            if not self._protection.is_ghost(item.entry.path)
            for above in PurePosixPath(item.entry.path).parents
        }
        items = [
            item
            for item in changed
            if item.entry.path in used or not self._protection.is_ghost(item.entry.path)
        ]
        for item in items:
            if not name_of(item.entry.path).startswith(WHITEOUT_PREFIX):
                self._protection.describe(item.entry.path)
        return items

    @contextmanager
    def step(
        self, working_dir: str, mounts: Sequence[RootMount], aside: Path, made: frozenset[str]
    ) -> Iterator[frozenset[str]]:
        """A step has its working directory and its mounts; the paths that these cover are what comes.

        `aside` is for what must be out of the way, `made` are mount points. Raises IsolationError.
        """
        with working_in(self._root, working_dir, self._protection, self._hidden, made):
            make_working_directory(self._root, working_dir)
            with moved_in(self._root, mounts, self._protection, aside) as covered:
                yield covered

    def _note(self, losses: Sequence[Loss]) -> None:
        for loss in losses:
            place = loss.what.removeprefix(PROTECTED)
            if place != loss.what:
                self._hidden.add(place)
                self._on_hidden(place, loss.path)


class InplaceRoot:
    """The root directory in the hands of one stage; `lend` gives it to the next."""

    def __init__(self, image: ImageFiles, lend: Callable[[ImageFiles], "InplaceRoot"]) -> None:
        self._image = image
        self._lend = lend
        self._root_fd = os.open(image.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._view: DirTree | None = None
        self._scan: Scan | None = None
        self._covered: frozenset[str] = frozenset()
        """What the step under way has other things in place of, as if mounted: it does not change."""
        self._made: frozenset[str] = frozenset()
        """Mount points of that step."""
        self._is_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether another stage has taken the directory; then nothing here may be used any more."""
        return self._is_lost

    def child(self, place: Path) -> "InplaceRoot":
        """The same directory, from now on the other stage's."""
        return self._lend(self._image)

    def tree(self) -> Tree:
        """What the image has there now; valid until the next step."""
        assert not self._is_lost
        if self._view is None:
            self._view = self._image.tree(self._root_fd)
        return self._view

    def directory(self) -> Path:
        """Where it lies."""
        return self._image.root

    def apply(self, fill: LayerFiller) -> None:
        """Write layers that exist already on top."""
        self._forget()
        self._image.write(fill)

    def run(self, process: Process, mount_points: Sequence[MountPoint] = ()) -> list[LayerItem]:
        """Let a process loose on the directory; the result is what it changed, but for what is protected."""
        before = self._scan or self._image.scan(self._root_fd, frozenset())
        self._forget()
        self._covered = frozenset()
        self._made = frozenset(path for path, _ in mount_points)
        with mount_points_in(self._root_fd, mount_points):
            process(self._image.root)
        after = self._image.scan(self._root_fd, self._covered)
        items = self._image.take_in(changes(_without(before, self._covered), self._root_fd, after))
        if not self._covered:
            self._scan = after
        return items

    @contextmanager
    def step(self, working_dir: str, mounts: Sequence[RootMount], aside: Path) -> Iterator[None]:
        """What a process that `run` has started needs around it; see `ImageFiles.step`."""
        with self._image.step(working_dir, mounts, aside, self._made) as self._covered:
            yield

    def close(self) -> None:
        """Close what is open; the directory stays as it is. It counts as lost then."""
        if not self._is_lost:
            self._forget()
            os.close(self._root_fd)
            self._is_lost = True

    def _forget(self) -> None:
        """Let go of what was seen before a change."""
        self._scan = None
        if self._view is not None:
            self._view.close()
            self._view = None


def _without(scan: Scan, covered: frozenset[str]) -> Scan:
    """A scan as if it had left out these paths."""
    if not covered:
        return scan
    directories = {
        directory: {
            name: record for name, record in records.items() if not is_within(join(directory, name), covered)
        }
        for directory, records in scan.directories.items()
        if not is_within(directory, covered)
    }
    return Scan(directories, scan.digests, scan.xattrs)
