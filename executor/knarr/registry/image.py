"""What an image's name stands for in a registry."""

from dataclasses import dataclass

from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import Descriptor, Manifest
from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image of one platform; everything in it was checked against its digest."""

    reference: Reference
    """By the digest of the manifest."""
    descriptor: Descriptor
    """The manifest's own."""
    manifest: Manifest
    manifest_bytes: bytes
    config: ImageConfig
    config_bytes: bytes
    top: Descriptor
    """What the name itself stands for: an index, or the manifest again."""
