"""The root file system of a stage: an index of its layers until something must run in it."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.backend import (
    Backend,
    DirectoryRoot,
    LayerFiller,
    Process,
    StepCommand,
    WriteLayer,
)
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.layers.entry import WHITEOUT_PREFIX, LayerItem
from knarr.layers.paths import clean, name_of
from knarr.layers.spool import Spool
from knarr.layers.tar.read import TarReader, read_members
from knarr.oci.digest import Digest
from knarr.progress import Phase
from knarr.rootfs.changes.unchanged import without_unchanged
from knarr.rootfs.copying.sources import missing_source
from knarr.rootfs.copying.write_tree import write_tree
from knarr.rootfs.layer_draft import deletion_marker
from knarr.rootfs.layer_tree import LayerTree
from knarr.rootfs.mount_points import MountPoint
from knarr.rootfs.tree import Tree

_ALL_CHANGES = SnapshotRules()


class StageRoot:
    """Layers, looked at through `tree`, added to by `write` and `run`.

    Nothing is downloaded before something looks. Nothing is extracted before the first `run`, unless
    `will_run` says that there will be one: then an index, for what comes before it, would cost a second pass.
    """

    def __init__(
        self,
        place: Path,
        blobs: Blobs,
        backend: Backend,
        layers: Sequence[Layer] = (),
        *,
        snapshots: SnapshotRules = _ALL_CHANGES,
        will_run: bool = False,
        index: tuple[LayerTree, int] | None = None,
        directory: DirectoryRoot | None = None,
    ) -> None:
        self._place = place
        self._blobs = blobs
        self._backend = backend
        self._snapshots = snapshots
        self._layers = list(layers)
        self._directory = directory
        self._will_run = will_run
        self.spool = Spool(place / "spool", _opener(blobs))
        self._index, self._indexed = index or (LayerTree(self.spool), 0)
        self._copies = 0
        if will_run and directory is None:
            backend.claim()  # now, not in the midst of a step that copies from the stage that has it

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The layers by content, the lowest first."""
        return tuple(layer.diff_id for layer in self._layers)

    def child(self, place: Path, *, will_run: bool) -> "StageRoot":
        """The root of a stage that starts from this one as it is now."""
        own = self._current()
        # The only directory is given away to a stage that needs it, and to no other.
        is_given = will_run or not self._backend.abilities.one_root
        directory = own.child(place) if own is not None and is_given else None
        return StageRoot(
            place,
            self._blobs,
            self._backend,
            self._layers,
            snapshots=self._snapshots,
            will_run=will_run,
            index=(self._index, self._indexed),
            directory=directory,
        )

    def tree(self) -> Tree:
        """What is there now; valid until the next `write` or `run`."""
        directory = self._current()
        if directory is None and self._will_run:
            directory = self._directory = self._extract()
        return self._index_of_layers() if directory is None else directory.tree()

    def _index_of_layers(self) -> LayerTree:
        """All layers that there are by now, those that are on disk too."""
        for layer in self._layers[self._indexed :]:
            self._blobs.reporter.report(Phase("index"))
            with self._blobs.open(layer) as stream:
                self._index = self._index.with_layer(read_members(stream), layer)
            self._indexed += 1
        return self._index

    def write(self, items: Sequence[LayerItem], *, before: Tree | None = None) -> Layer:
        """Add a layer of these items, without those that are in the tree `before` already."""
        if before is not None:
            items = without_unchanged(items, before, self._blobs.rules.kept)
        layer = self._blobs.write_layer(items)
        self.apply_cached(layer)
        return layer

    def apply_cached(self, layer: Layer) -> None:
        """Add a layer that exists already; it is pulled when something needs what is in it."""
        self._layers.append(layer)
        directory = self._current()
        if directory is not None:
            self._blobs.reporter.report(Phase("extract"))
            directory.apply(self._filler([layer]))

    def finish(self) -> None:
        """No step comes any more: what is not on disk by now is looked up in the index."""
        self._will_run = False

    def locate(self, path: str) -> tuple[Path, str]:
        """A directory on disk with a path in it where what `path` names lies; extracts what is there.

        Valid until the next `write` or `run`, and not to be written to. Symlinks are not resolved yet.
        """
        if self._backend.abilities.one_root:
            return self._copy(path), ""
        if self._directory is None:
            self._directory = self._extract()
        return self._directory.directory(), path

    def run(self, command: StepCommand, mount_points: Sequence[MountPoint] = ()) -> Layer:
        """Extract what is there, let a command change it, add a layer of what it changed.

        `mount_points` are made where they are missing, and never show in the layer. Raises RunError where the
        command fails, ContextError for a file whose name stands for a deletion.
        """
        if self._current() is None:
            self._directory = self._extract()
        assert self._directory is not None
        changes = self._directory.run(self._process(command), mount_points, self._index_of_layers)
        self._refuse_markers(changes)
        layer = self._blobs.write_layer(self._snapshots.keep(changes))
        self._layers.append(layer)
        return layer

    def close(self) -> None:
        """Unmount and close what is open; the files stay until the work directory goes."""
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _refuse_markers(self, changes: Sequence[LayerItem]) -> None:
        """Of the whiteouts among the changes, those that are files really."""
        assert self._directory is not None
        names = [each.entry.path for each in changes if name_of(each.entry.path).startswith(WHITEOUT_PREFIX)]
        for path in names:
            if self._directory.tree().lookup(path) is not None:
                raise deletion_marker(path, hint="remove the file in the step that makes it, or rename it")

    def _current(self) -> DirectoryRoot | None:
        """The directory; None where there is none yet, or where another stage has taken it since."""
        if self._directory is not None and self._directory.is_lost:
            self._directory = None
            self._will_run = False
        return self._directory

    def _copy(self, path: str) -> Path:
        """A copy of what a path names, for when it can't be extracted beside the stage under way."""
        tree = self.tree()
        self._copies += 1
        target = self._place / f"copy{self._copies}"
        resolved = tree.resolve(clean(path))
        if tree.lookup(resolved) is None:
            raise missing_source(path, lambda _: False)
        write_tree(tree, resolved, target)
        return target

    def _process(self, command: StepCommand) -> Process:
        """The command as a process in the root that it is given; its beginning and its end are reported."""
        is_scanned = self._backend.abilities.overlay_userxattr is None
        after = Phase("snapshot", "full" if is_scanned else "")

        def run(root: Path) -> None:
            self._blobs.reporter.report(Phase("run"))
            self._backend.run(root, command)
            self._blobs.reporter.report(after)

        return run

    def _extract(self) -> DirectoryRoot:
        self._blobs.reporter.report(Phase("extract", "base"))
        layers = self._filler(self._layers)
        return self._backend.extract(self._place, layers, hash_content=self._snapshots.hash_content)

    def _filler(self, layers: Sequence[Layer]) -> LayerFiller:
        def fill(write: WriteLayer) -> None:
            self._blobs.prefetch(layers)
            for layer in layers:
                with self._blobs.open(layer) as stream:
                    write(TarReader(stream))

        return fill


def _opener(blobs: Blobs) -> Callable[[Hashable], AbstractContextManager[BinaryIO]]:
    """How a spool opens a layer that the index names."""
    return lambda layer: blobs.open_part(cast(Layer, layer))
