"""The root file system of a stage: an index of its layers until something must run in it."""

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from knarr.build.blobs import Blobs
from knarr.build.image import ImageLayer
from knarr.build.overlay_root import OverlayRoot
from knarr.build.plain_root import PlainRoot
from knarr.build.stubs import Stub
from knarr.layers.entry import LayerItem
from knarr.layers.tar_read import TarReader, read_members
from knarr.rootfs.layer_tree import LayerTree
from knarr.rootfs.spool import Spool
from knarr.rootfs.tree import Tree
from knarr.rootfs.unpack import OwnerPolicy, apply_layer

Process = Callable[[Path], None]


class DirectoryRoot(Protocol):
    """A root file system on disk."""

    def child(self, directory: Path) -> "DirectoryRoot | None":
        """One that starts where this is now, in a directory of its own; None where that is no cheaper."""
        ...

    def tree(self) -> Tree:
        """What is there now; valid until the next step."""
        ...

    def directory(self) -> Path:
        """Where what is there now can be seen; valid until the next step, not to be written to."""
        ...

    def apply(self, apply: Callable[[Path], None]) -> None:
        """Write a layer that is known already."""
        ...

    def run(self, process: Process, stubs: Sequence[Stub] = ()) -> list[LayerItem]:
        """Let a process change it; the result is the changes, their contents good until the next step.

        `stubs` are mount points that are missing; they never show in the changes.
        """
        ...

    def close(self) -> None:
        """Unmount, close; the files stay."""
        ...


@dataclass(frozen=True, slots=True)
class Directories:
    """How root file systems are put on disk; None for `overlay_userxattr` means without overlayfs."""

    overlay_userxattr: bool | None
    owner_policy: OwnerPolicy


class StageRoot:
    """Layers, looked at through `tree`, added to by `write` and `run`.

    Nothing is downloaded before something looks. Nothing is extracted before the first `run`, unless
    `will_run` says that there will be one: then an index, for what comes before it, would cost a second pass.
    """

    def __init__(
        self,
        place: Path,
        blobs: Blobs,
        directories: Directories,
        layers: Sequence[ImageLayer] = (),
        *,
        will_run: bool = False,
        index: tuple[LayerTree, int] | None = None,
        directory: DirectoryRoot | None = None,
    ) -> None:
        self._place = place
        self._blobs = blobs
        self._directories = directories
        self._layers = list(layers)
        self._directory = directory
        self._will_run = will_run
        self.spool = Spool(place / "spool", _opener(blobs))
        self._index, self._indexed = index or (LayerTree(self.spool), 0)

    def child(self, place: Path, *, will_run: bool) -> "StageRoot":
        """The root of a stage that starts from this one as it is now."""
        directory = self._directory.child(place) if self._directory is not None else None
        return StageRoot(
            place,
            self._blobs,
            self._directories,
            self._layers,
            will_run=will_run,
            index=(self._index, self._indexed),
            directory=directory,
        )

    def tree(self) -> Tree:
        """What is there now; valid until the next `write` or `run`."""
        if self._directory is None and self._will_run:
            self._directory = self._extract()
        if self._directory is not None:
            return self._directory.tree()
        for layer in self._layers[self._indexed :]:
            with self._blobs.open(layer) as stream:
                self._index = self._index.with_layer(read_members(stream), layer)
            self._indexed += 1
        return self._index

    def write(self, items: Iterable[LayerItem]) -> ImageLayer:
        """Add a layer of these items."""
        layer = self._blobs.write_layer(items)
        self._layers.append(layer)
        if self._directory is not None:
            self._directory.apply(lambda root: self._apply(root, [layer]))
        return layer

    def locate(self, path: str) -> tuple[Path, str]:
        """A directory on disk with a path in it where what `path` names lies; extracts what is there.

        Valid until the next `write` or `run`, and not to be written to. Symlinks are not resolved yet.
        """
        if self._directory is None:
            self._directory = self._extract()
        return self._directory.directory(), path

    def run(self, process: Process, stubs: Sequence[Stub] = ()) -> ImageLayer:
        """Extract what is there, let a process change it, add a layer of what it changed.

        `stubs` are mount points that are missing; they never show in the layer.
        """
        if self._directory is None:
            self._directory = self._extract()
        layer = self._blobs.write_layer(self._directory.run(process, stubs))
        self._layers.append(layer)
        return layer

    def close(self) -> None:
        """Unmount and close what is open; the files stay until the work directory goes."""
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _extract(self) -> DirectoryRoot:
        userxattr = self._directories.overlay_userxattr
        if userxattr is None:
            return PlainRoot.extract(self._place, lambda root: self._apply(root, self._layers))
        return OverlayRoot.extract(
            self._place, lambda root: self._apply(root, self._layers), userxattr=userxattr
        )

    def _apply(self, root: Path, layers: Sequence[ImageLayer]) -> None:
        self._blobs.prefetch(layers)
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for layer in layers:
                with self._blobs.open(layer) as stream:
                    apply_layer(root_fd, TarReader(stream), owner_policy=self._directories.owner_policy)
        finally:
            os.close(root_fd)


def _opener(blobs: Blobs) -> Callable[[Hashable], AbstractContextManager[BinaryIO]]:
    """How a spool opens a layer that the index names."""
    return lambda layer: blobs.open_part(cast(ImageLayer, layer))
