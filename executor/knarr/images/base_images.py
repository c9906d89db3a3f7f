"""The images that a build starts from: names to images, each resolved once."""

from knarr.images.image import Image, Layer
from knarr.oci.image_config import History, ImageConfig
from knarr.oci.manifest import Manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import BaseResolved, BaseSought, Reporter
from knarr.registry.client import Client
from knarr.registry.transfer.manifests import Documents
from knarr.registry.transfer.resolve import resolve


class BaseImages:
    """Looks names up in registries; the same name and platform are looked up once a build."""

    def __init__(self, client: Client, reporter: Reporter, kept: Documents | None = None) -> None:
        """`kept` has manifests that need not be fetched."""
        self._kept = kept
        self._client = client
        self._reporter = reporter
        self._known: dict[tuple[str, Platform], Image] = {}

    def get(self, name: str, platform: Platform) -> Image:
        """The image that a FROM or --from names. Raises UsageError, RegistryError, CorruptError."""
        key = (name, platform)
        if key not in self._known:
            reference = Reference.parse(name).with_default_tag()
            self._reporter.report(BaseSought(str(reference)))
            resolved = resolve(self._client, reference, platform, store=self._kept)
            layers = resolved.manifest.layers
            size_bytes = sum(layer.size_bytes for layer in layers)
            digest = str(resolved.descriptor.digest)
            self._reporter.report(BaseResolved(str(reference), digest, len(layers), size_bytes))
            self._known[key] = image_of(resolved.manifest, resolved.config, origin=resolved.reference)
        return self._known[key]


def image_of(manifest: Manifest, config: ImageConfig, *, origin: Reference | None) -> Image:
    """The image of a manifest as a base; `origin` is where its layers are to be had, see Layer."""
    layers = tuple(
        Layer(descriptor, diff_id, origin)
        for descriptor, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    )
    return Image(_with_whole_history(config.as_base(), len(layers)), layers)


def _with_whole_history(config: ImageConfig, layer_count: int) -> ImageConfig:
    """A history that has an entry for each layer, as the ones to come need; a wrong one is replaced."""
    known = sum(not entry.empty_layer for entry in config.history)
    if known > layer_count:
        config, known = config.with_property("history", None), 0
    for _ in range(layer_count - known):
        config = config.with_history(History(comment="history of the layer is missing in the base image"))
    return config
