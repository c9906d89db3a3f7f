"""An image as a build handles it: a config with its layers."""

import dataclasses
from dataclasses import dataclass

from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import History, ImageConfig
from knarr.oci.manifest import Descriptor, Manifest
from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer: its blob, the digest of its content, and the repository where the blob is to be had.

    `origin` is None for a layer of this build, whose blob is in the store.
    """

    descriptor: Descriptor
    diff_id: Digest
    origin: Reference | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A config with the layers that its diff_ids name, the lowest first."""

    config: ImageConfig
    layers: tuple[ImageLayer, ...] = ()

    def with_layer(self, layer: ImageLayer, entry: History) -> "Image":
        """The same with one more layer and its history entry."""
        return Image(self.config.with_layer(layer.diff_id, entry), (*self.layers, layer))

    def with_config(self, config: ImageConfig) -> "Image":
        """The same layers under another config."""
        return dataclasses.replace(self, config=config)


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """What outputs write: config and manifest as bytes, the layers, the manifest's descriptor."""

    config: bytes
    manifest: bytes
    descriptor: Descriptor
    layers: tuple[ImageLayer, ...]

    @classmethod
    def of(cls, image: Image) -> "FinishedImage":
        """The OCI form of an image; Docker's media types in the base become OCI's, the blobs stay."""
        config = image.config.to_bytes()
        layers = tuple(_in_oci_form(layer) for layer in image.layers)
        manifest = Manifest(
            media_types.OCI_MANIFEST,
            Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config)),
            tuple(layer.descriptor for layer in layers),
        ).to_bytes()
        platform = image.config.platform
        descriptor = Descriptor(
            media_types.OCI_MANIFEST, Digest.of(manifest), len(manifest), platform=platform
        )
        return cls(config, manifest, descriptor, layers)

    @property
    def config_digest(self) -> Digest:
        """Digest of the config: the image ID of Docker."""
        return Digest.of(self.config)


def _in_oci_form(layer: ImageLayer) -> ImageLayer:
    descriptor = layer.descriptor
    media_type = media_types.OCI_FORM_OF_LAYER.get(descriptor.media_type, descriptor.media_type)
    plain = Descriptor(media_type, descriptor.digest, descriptor.size_bytes)
    return dataclasses.replace(layer, descriptor=plain)
