"""The file system of a finished image, for outputs that are of files alone."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.layers.entry import LayerItem
from knarr.layers.spool import Spool
from knarr.layers.tar.read import read_members
from knarr.layers.tar.write import write_tar
from knarr.rootfs.export import items_of, write_items
from knarr.rootfs.layer_tree import LayerTree


class FileSystem:
    """What the layers of an image leave together, as BuildKit's local and tar exporters write it.

    `mtime_s` is the time of everything where it is given (SOURCE_DATE_EPOCH).
    """

    def __init__(self, tree: LayerTree, *, mtime_s: int | None = None) -> None:
        self._tree = tree
        self._mtime_ns = mtime_s * 10**9 if mtime_s is not None else None

    @classmethod
    def open(
        cls, layers: Sequence[Layer], blobs: Blobs, directory: Path, *, mtime_s: int | None = None
    ) -> "FileSystem":
        """Read the layers; `directory` takes contents, and stays the caller's. Raises CorruptError."""
        tree = LayerTree(Spool(directory, _opener(blobs)))
        for layer in layers:
            with blobs.open(layer) as stream:
                tree = tree.with_layer(read_members(stream), layer)
        return cls(tree, mtime_s=mtime_s)

    def write_tar(self, file: BinaryIO) -> None:
        """A tarball, owners as numbers alone. Raises OSError, CorruptError."""
        write_tar(self._items(), file.write)

    def write_directory(self, path: Path) -> None:
        """Into a directory, owned by this process. See `write_items`."""
        write_items(self._items(), path)

    def _items(self) -> Iterator[LayerItem]:
        items = list(items_of(self._tree, mtime_ns=self._mtime_ns))
        self._tree.prepare(item.entry.path for item in items if item.open_content is not None)
        return iter(items)


def _opener(blobs: Blobs) -> Callable[[Hashable], AbstractContextManager[BinaryIO]]:
    return lambda layer: blobs.open_part(cast(Layer, layer))
