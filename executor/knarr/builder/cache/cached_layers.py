"""Layers that came from the cache, read whole before anything is built on what is in them."""

from collections.abc import Iterable

from knarr.builder.cache.layer_cache import LayerCache
from knarr.errors import CorruptError, RegistryError
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.layers.tar.read import read_members
from knarr.oci.digest import Digest


class CachedLayers:
    """The cached layers of one build; each is checked once, and only if something is to read it."""

    def __init__(self, blobs: Blobs, cache: LayerCache) -> None:
        self._blobs = blobs
        self._cache = cache
        self._unchecked: dict[Digest, str] = {}
        self._sound: set[Digest] = set()

    def add(self, layer: Layer, key: str) -> None:
        """Remember under which key a layer was found."""
        if layer.descriptor.digest not in self._sound:
            self._unchecked[layer.descriptor.digest] = key

    def first_damaged(self, layers: Iterable[Layer]) -> Layer | None:
        """Pull those of the layers that are cached ones, and read them to their end.

        The first that can't be had, or is not what was promised, is the result; its entry is not used again.
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
                self._cache.distrust(key, error.message)
                return layer
            self._sound.add(layer.descriptor.digest)
        return None
