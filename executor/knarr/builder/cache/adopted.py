"""Layers that came from the cache, read whole before anything is built on what is in them."""

from collections.abc import Callable, Iterable

from knarr.errors import CorruptError, RegistryError
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.layers.tar_read import read_members
from knarr.oci.digest import Digest


class DamagedEntryError(Exception):
    """A cached layer can't be read: its step has to be made after all."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer


class AdoptedLayers:
    """The cached layers of one build; each is checked once, and only if something is to read it."""

    def __init__(self, blobs: Blobs, distrust: Callable[[str, str], None]) -> None:
        self._blobs = blobs
        self._distrust = distrust
        self._unchecked: dict[Digest, str] = {}

    def add(self, layer: Layer, key: str) -> None:
        """Remember whose layer it is."""
        self._unchecked[layer.descriptor.digest] = key

    def check(self, layers: Iterable[Layer]) -> None:
        """Pull those of them that are cached ones, and read them to their end.

        Raises DamagedEntryError for one that can't be had or is not what was promised; its entry is not used
        any more.
        """
        waiting = [layer for layer in layers if layer.descriptor.digest in self._unchecked]
        self._blobs.prefetch(waiting)
        for layer in waiting:
            key = self._unchecked.pop(layer.descriptor.digest, None)
            if key is None:
                continue
            try:
                with self._blobs.open(layer) as stream:
                    for _ in read_members(stream):
                        pass
            except (CorruptError, RegistryError) as error:
                self._distrust(key, error.message)
                raise DamagedEntryError(layer) from error
