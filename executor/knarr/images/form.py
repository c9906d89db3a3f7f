"""The form in which an image is written: media types, compression, annotations."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from knarr.errors import UsageError
from knarr.layers.compression import MEDIA_TYPE_OF_COMPRESSION, CompressionSettings
from knarr.oci import media_types


class ImageFormat(enum.Enum):
    """Whose media types manifest, config and layers have."""

    OCI = "oci"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True)
class _MediaTypes:
    manifest: str
    config: str
    layers: Mapping[str, str]
    """By the OCI name of a layer's type."""


_MEDIA_TYPES: Mapping[ImageFormat, _MediaTypes] = MappingProxyType(
    {
        ImageFormat.OCI: _MediaTypes(
            media_types.OCI_MANIFEST,
            media_types.OCI_CONFIG,
            {each: each for each in media_types.DOCKER_FORM_OF_LAYER},
        ),
        ImageFormat.DOCKER: _MediaTypes(
            media_types.DOCKER_MANIFEST,
            media_types.DOCKER_CONFIG,
            {
                oci: docker
                for oci, docker in media_types.DOCKER_FORM_OF_LAYER.items()
                if oci != media_types.OCI_LAYER_ZSTD
            },
        ),
    }
)


@dataclass(frozen=True, slots=True)
class ImageForm:
    """How the image is written; blobs of a base image keep their bytes in any form."""

    format: ImageFormat = ImageFormat.OCI
    compression: CompressionSettings = field(default_factory=CompressionSettings)
    """Of the layers that this build makes."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the manifest."""
    descriptor_annotations: Mapping[str, str] = field(default_factory=dict)
    """Of what names the manifest: an entry of an index.json."""
    is_forced: bool = False
    """Whether layers of the base image are packed anew that have another compression."""

    def is_packed(self, media_type: str) -> bool:
        """Whether a layer of this type has the compression that is asked for, or may keep its own."""
        oci = media_types.OCI_FORM_OF_LAYER.get(media_type, media_type)
        return not self.is_forced or oci == MEDIA_TYPE_OF_COMPRESSION[self.compression.compression]

    @property
    def manifest_type(self) -> str:
        """Media type of the manifest."""
        return _MEDIA_TYPES[self.format].manifest

    @property
    def config_type(self) -> str:
        """Media type of the config."""
        return _MEDIA_TYPES[self.format].config

    def layer_type(self, media_type: str) -> str:
        """A layer's media type in this form; UsageError where the format has no name for it."""
        oci = media_types.OCI_FORM_OF_LAYER.get(media_type, media_type)
        found = _MEDIA_TYPES[self.format].layers.get(oci)
        if found is not None:
            return found
        if self.format is ImageFormat.OCI:
            return media_type
        raise UsageError(
            f"--image-format=docker: the base image has a layer of type {media_type}, which is not Docker's",
            hint="build with --image-format=oci, or on a base image whose layers are gzip",
        )
