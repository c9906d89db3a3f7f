"""A cached layer as an image: one layer, with what it is the layer of in the config."""

import dataclasses
import datetime
from dataclasses import dataclass
from typing import Any

from knarr.builder.cache.keys import VERSION, digest_parts
from knarr.errors import CorruptError
from knarr.images.image import Layer
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import Descriptor, Manifest, encode_json
from knarr.oci.platform import Platform

_PROPERTY = "dev.knarr.cache"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A step's layer, the key it was made under, what it was made on, when.

    An entry without a layer only says what `content` a stage of that key has at some paths.
    """

    layer: Layer | None
    key: str
    below: str
    """The `state_key` of what it lies on."""
    created_s: int
    content: str = ""

    @classmethod
    def parse(cls, manifest: Manifest, config: ImageConfig, key: str) -> "CacheEntry":
        """Read what was found under a key; CorruptError where it is not the entry of that very key."""
        stated = config.document.get(_PROPERTY)
        if not isinstance(stated, dict):
            raise CorruptError("not a cache entry")
        if stated.get("key") != key:
            raise CorruptError("the entry of another key")
        if len(manifest.layers) > 1 or len(manifest.layers) != len(config.diff_ids):
            raise CorruptError("not an entry of one layer")
        layer = Layer(manifest.layers[0], config.diff_ids[0]) if manifest.layers else None
        if layer is not None and layer.descriptor.media_type not in media_types.OCI_FORM_OF_LAYER:
            raise CorruptError(f"not a layer: {layer.descriptor.media_type[:100]}")
        created_s = _seconds(config.document.get("created"))
        entry = cls(layer, key, str(stated.get("below")), created_s, str(stated.get("content") or ""))
        if stated.get("seal") != entry.seal:
            raise CorruptError("its parts don't belong together")
        return entry

    def config(self, platform: Platform) -> bytes:
        """The config blob that keeps the entry; an ordinary image config to everybody else."""
        created = datetime.datetime.fromtimestamp(self.created_s, datetime.UTC)
        document: dict[str, Any] = {
            "architecture": platform.architecture,
            "os": platform.os,
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": {},
            _PROPERTY: {
                "key": self.key,
                "below": self.below,
                "content": self.content,
                "seal": self.seal,
            },
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in self.layers]},
        }
        return encode_json(document)

    def manifest(self, config: bytes) -> bytes:
        """The manifest over that config."""
        descriptor = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
        layers = tuple(layer.descriptor for layer in self.layers)
        return Manifest(media_types.OCI_MANIFEST, descriptor, layers).to_bytes()

    @property
    def seal(self) -> str:
        """A checksum over all of it: shows mix-ups, and nothing to one who may write to the cache anyway."""
        layers = [
            (str(each.diff_id), str(each.descriptor.digest), str(each.descriptor.size_bytes))
            for each in self.layers
        ]
        parts = [VERSION, "entry", self.key, self.below, self.content, str(self.created_s)]
        return digest_parts([*parts, *(part for layer in layers for part in layer)])

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer, if there is one."""
        return () if self.layer is None else (self.layer,)

    def at(self, layer: Layer) -> "CacheEntry":
        """The same with its layer to be had elsewhere."""
        return dataclasses.replace(self, layer=layer)


def _seconds(value: object) -> int:
    try:
        time = datetime.datetime.fromisoformat(str(value))
    except ValueError as error:
        raise CorruptError("a cache entry without a date") from error
    if time.tzinfo is None:
        raise CorruptError("a cache entry whose date has no time zone")
    return int(time.timestamp())
