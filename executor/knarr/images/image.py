"""An image as a build handles it: a config with its layers."""

import dataclasses
from dataclasses import dataclass

from knarr.images.form import ImageForm
from knarr.oci.digest import Digest
from knarr.oci.image_config import History, ImageConfig
from knarr.oci.manifest import Descriptor, Manifest
from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Layer:
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
    layers: tuple[Layer, ...] = ()

    def with_layer(self, layer: Layer, entry: History) -> "Image":
        """The same with one more layer and its history entry."""
        return Image(self.config.with_layer(layer.diff_id, entry), (*self.layers, layer))

    def with_merged(self, kept: int, layer: Layer) -> "Image":
        """The lowest `kept` layers with one layer for all others; history says so of the last of these."""
        diff_ids = [str(each.diff_id) for each in (*self.layers[:kept], layer)]
        config = self.config.with_property("rootfs", {"type": "layers", "diff_ids": diff_ids})
        history, seen, total = [], 0, len(self.layers)
        for entry in self.config.history:
            seen += not entry.empty_layer
            is_merged = not entry.empty_layer and kept < seen < total
            history.append(dataclasses.replace(entry, empty_layer=True) if is_merged else entry)
        document = [entry.to_json() for entry in history]
        return Image(config.with_property("history", document), (*self.layers[:kept], layer))

    def with_config(self, config: ImageConfig) -> "Image":
        """The same layers under another config."""
        return dataclasses.replace(self, config=config)


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """What outputs write: config and manifest as bytes, the layers, the manifest's descriptor."""

    config: bytes
    manifest: bytes
    descriptor: Descriptor
    layers: tuple[Layer, ...]
    document: Manifest
    """The manifest as a value."""

    @classmethod
    def of(cls, image: Image, form: ImageForm | None = None) -> "FinishedImage":
        """An image in a form, OCI's by default; the blobs stay as they are, whatever their types were.

        Raises UsageError where the form has no name for a layer's type.
        """
        form = form or ImageForm()
        config = image.config.to_bytes()
        layers = tuple(_in_form(layer, form) for layer in image.layers)
        manifest = Manifest(
            form.manifest_type,
            Descriptor(form.config_type, Digest.of(config), len(config)),
            tuple(layer.descriptor for layer in layers),
            form.annotations,
        )
        data = manifest.to_bytes()
        platform = image.config.platform
        descriptor = Descriptor(form.manifest_type, Digest.of(data), len(data), platform=platform)
        return cls(config, data, descriptor, layers, manifest)

    @property
    def config_digest(self) -> Digest:
        """Digest of the config: the image ID of Docker."""
        return self.document.config.digest


def _in_form(layer: Layer, form: ImageForm) -> Layer:
    descriptor = layer.descriptor
    plain = Descriptor(form.layer_type(descriptor.media_type), descriptor.digest, descriptor.size_bytes)
    return dataclasses.replace(layer, descriptor=plain)
