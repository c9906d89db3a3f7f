"""An image as a build handles it: a config with its layers."""

import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from knarr.images.form import ImageForm
from knarr.oci.digest import Digest
from knarr.oci.image_config import History, ImageConfig
from knarr.oci.manifest import Descriptor, Manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its blob, the digest of its content, and the repository where the blob is to be had.

    `origin` is None for a layer of this build, whose blob is in the store.
    """

    descriptor: Descriptor
    diff_id: Digest
    origin: Reference | None = None


OpenBlob = Callable[[Descriptor], BinaryIO]
OpenLayer = Callable[[Layer], BinaryIO]


@dataclass(frozen=True, slots=True)
class Image:
    """A config with the layers that its diff_ids name, the lowest first."""

    config: ImageConfig
    layers: tuple[Layer, ...] = ()

    def with_layer(self, layer: Layer, entry: History) -> "Image":
        """The same with one more layer and its history entry."""
        return Image(self.config.with_layer(layer.diff_id, entry), (*self.layers, layer))

    def with_squashed(self, kept: int, layer: Layer) -> "Image":
        """The lowest `kept` layers with one layer for all others; history says so of the last of these."""
        diff_ids = [str(each.diff_id) for each in (*self.layers[:kept], layer)]
        config = self.config.with_property("rootfs", {"type": "layers", "diff_ids": diff_ids})
        history, seen, total = [], 0, len(self.layers)
        for entry in self.config.history:
            seen += not entry.empty_layer
            is_squashed = not entry.empty_layer and kept < seen < total
            history.append(dataclasses.replace(entry, empty_layer=True) if is_squashed else entry)
        document = [entry.to_json() for entry in history]
        return Image(config.with_property("history", document), (*self.layers[:kept], layer))

    def with_config(self, config: ImageConfig) -> "Image":
        """The same layers under another config."""
        return dataclasses.replace(self, config=config)


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """An image as it is stored: its manifest as bytes, its blobs on demand."""

    descriptor: Descriptor
    """The manifest's."""
    manifest: Manifest
    manifest_bytes: bytes
    open: OpenBlob
    """Opens the config or a layer; the caller closes it. Raises RegistryError, CorruptError."""
    origins: Mapping[Digest, Reference] = field(default_factory=dict)
    """Where blobs are to be had, too: a registry may mount them from there."""

    @classmethod
    def of(cls, image: Image, open_layer: OpenLayer, form: ImageForm | None = None) -> "FinishedImage":
        """An image in a form, OCI's by default; the blobs stay as they are, whatever their types were.

        Raises UsageError where the form has no name for a layer's type.
        """
        form = form or ImageForm()
        config = image.config.to_bytes()
        manifest = Manifest(
            form.manifest_type,
            Descriptor(form.config_type, Digest.of(config), len(config)),
            tuple(_in_form(layer.descriptor, form) for layer in image.layers),
            form.annotations,
        )
        made = cls.assemble(manifest, config, image.layers, open_layer, image.config.platform)
        descriptor = dataclasses.replace(made.descriptor, annotations=dict(form.descriptor_annotations))
        return dataclasses.replace(made, descriptor=descriptor)

    @classmethod
    def assemble(
        cls,
        manifest: Manifest,
        config: bytes,
        layers: Iterable[Layer],
        open_layer: OpenLayer,
        platform: Platform | None = None,
    ) -> "FinishedImage":
        """An image of its parts; `platform` is what an index says that it is for."""
        data = manifest.to_bytes()
        by_digest = {layer.descriptor.digest: layer for layer in layers}

        def opened(blob: Descriptor) -> BinaryIO:
            is_config = blob.digest == manifest.config.digest
            return io.BytesIO(config) if is_config else open_layer(by_digest[blob.digest])

        return cls(
            Descriptor(manifest.media_type, Digest.of(data), len(data), platform=platform),
            manifest,
            data,
            opened,
            {digest: layer.origin for digest, layer in by_digest.items() if layer.origin is not None},
        )

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The layers, the lowest first, then the config; each once."""
        blobs = (*self.manifest.layers, self.manifest.config)
        return tuple({blob.digest: blob for blob in blobs}.values())

    @property
    def config_digest(self) -> Digest:
        """Digest of the config: the image ID of Docker."""
        return self.manifest.config.digest


def _in_form(layer: Descriptor, form: ImageForm) -> Descriptor:
    return Descriptor(form.layer_type(layer.media_type), layer.digest, layer.size_bytes)
