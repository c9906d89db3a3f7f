"""A cached layer as an image: one layer, with what it is the layer of in the config."""

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from knarr.build.image import ImageLayer
from knarr.errors import CorruptError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import Descriptor, Manifest, encode_json
from knarr.oci.platform import Platform

_PROPERTY = "dev.knarr.cache"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A step's layer, the keys it was made under, the layers it was made on, when."""

    layer: ImageLayer
    keys: tuple[str, ...]
    below: str
    """`chain_id` of the layers that it lies on."""
    created_s: int

    @classmethod
    def parse(cls, manifest: Manifest, config: ImageConfig, key: str) -> "CacheEntry":
        """Read what was found under a key; CorruptError where it is not the entry of that very key."""
        stated = config.document.get(_PROPERTY)
        if not isinstance(stated, dict):
            raise CorruptError("not a cache entry")
        keys = tuple(str(each) for each in _list(stated.get("keys")))
        if key not in keys:
            raise CorruptError("the entry of another key")
        if len(manifest.layers) != 1 or len(config.diff_ids) != 1:
            raise CorruptError("not an entry of one layer")
        layer = ImageLayer(manifest.layers[0], config.diff_ids[0])
        return cls(layer, keys, str(stated.get("below")), _seconds(config.document.get("created")))

    def config(self, platform: Platform) -> bytes:
        """The config blob that keeps the entry; an ordinary image config to everybody else."""
        created = datetime.datetime.fromtimestamp(self.created_s, datetime.UTC)
        document: dict[str, Any] = {
            "architecture": platform.architecture,
            "os": platform.os,
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": {},
            _PROPERTY: {"keys": list(self.keys), "below": self.below},
            "rootfs": {"type": "layers", "diff_ids": [str(self.layer.diff_id)]},
        }
        return encode_json(document)

    def manifest(self, config: bytes) -> bytes:
        """The manifest over that config."""
        descriptor = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
        return Manifest(media_types.OCI_MANIFEST, descriptor, (self.layer.descriptor,)).to_bytes()

    def at(self, layer: ImageLayer) -> "CacheEntry":
        """The same with its layer to be had elsewhere."""
        return dataclasses.replace(self, layer=layer)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _seconds(value: object) -> int:
    try:
        return int(datetime.datetime.fromisoformat(str(value)).timestamp())
    except (ValueError, OverflowError) as error:
        raise CorruptError("a cache entry without a date") from error
