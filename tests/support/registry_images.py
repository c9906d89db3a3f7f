"""Small images for registry tests, with what is needed to push them."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from knarr.images.image import FinishedImage
from knarr.images.pusher import Pusher
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor, Manifest
from knarr.oci.reference import Reference
from knarr.progress import Event
from knarr.registry.client import Client


@dataclass(frozen=True)
class SmallImage:
    """An image whose layers are any bytes: nobody unpacks them."""

    manifest: Manifest
    config_bytes: bytes
    blobs: dict[Digest, bytes]

    @classmethod
    def of(
        cls, *layers: bytes, architecture: str = "amd64", variant: str = "", diff_ids: int | None = None
    ) -> "SmallImage":
        """An image with these layers; `diff_ids` is how many the config has, where that is to be wrong."""
        config = {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {
                "type": "layers",
                "diff_ids": [str(Digest.of(b"tar" + layer)) for layer in layers][:diff_ids],
            },
        }
        if variant:
            config["variant"] = variant
        data = json.dumps(config).encode()
        descriptors = tuple(describe(layer, media_types.OCI_LAYER_GZIP) for layer in layers)
        manifest = Manifest(media_types.OCI_MANIFEST, describe(data, media_types.OCI_CONFIG), descriptors)
        blobs = {Digest.of(item): item for item in (*layers, data)}
        return cls(manifest, data, blobs)

    @property
    def descriptor(self) -> Descriptor:
        return describe(self.manifest.to_bytes(), self.manifest.media_type)

    def finished(self, origins: Mapping[Digest, Reference] | None = None) -> FinishedImage:
        """The image as a value."""
        data = self.manifest.to_bytes()
        return FinishedImage(
            self.descriptor, self.manifest, data, lambda blob: self.source(blob)(), origins or {}
        )

    def source(self, descriptor: Descriptor) -> Callable[[], BinaryIO]:
        """Opens a blob."""
        return lambda: io.BytesIO(self.blobs[descriptor.digest])


def push_image(
    client: Client,
    destination: Reference,
    image: SmallImage,
    *,
    mount_from: Mapping[Digest, Reference] | None = None,
) -> Digest:
    """Push an image under one name; the result is the digest of its manifest."""
    with Pusher(client, [destination]) as pusher:
        pusher.put(image.finished(mount_from), [destination])
    return image.descriptor.digest


def describe(data: bytes, media_type: str) -> Descriptor:
    """The descriptor of some bytes."""
    return Descriptor(media_type, Digest.of(data), len(data))


@dataclass
class Events:
    """A reporter that remembers."""

    events: list[Event] = field(default_factory=list)

    def report(self, event: Event) -> None:
        """Remember the event."""
        self.events.append(event)
