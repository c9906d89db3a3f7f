"""The manifest.json of tarballs that `docker save` writes, and kaniko (Docker Image Specification v1.2)."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from knarr.errors import CorruptError, UsageError
from knarr.images.saved.files import SavedFiles
from knarr.layers.compression import MEDIA_TYPE_OF_COMPRESSION, Compression, detect_compression
from knarr.layers.read import open_layer
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.go_json import ListOf, Struct, Text, decode, shaped
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Manifest

_NAME = "manifest.json"
_DOCUMENT = ListOf(Struct({"Config": Text(), "RepoTags": ListOf(Text()), "Layers": ListOf(Text())}))
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_CHUNK_BYTES = 1024 * 1024


def has_docker_manifest(files: SavedFiles) -> bool:
    """Whether the files are those of a `docker save`."""
    return files.has(_NAME)


@dataclass(frozen=True, slots=True)
class DockerManifest:
    """The one image of a tarball: the names of its files, the config's bytes."""

    config_name: str
    config_bytes: bytes
    layer_names: tuple[str, ...]

    @property
    def config_digest(self) -> Digest:
        """Digest of the config."""
        return Digest.of(self.config_bytes)

    def to_manifest(self, files: SavedFiles) -> tuple[Manifest, dict[Digest, str]]:
        """A manifest of the layers as they are packed, with the names of the blobs' files.

        Docker's media types where all layers are gzip: the image that kaniko makes of the tarball. Otherwise
        OCI's, because Docker's manifest has no other layers. Raises CorruptError for a layer that is not what
        its diff_id says.
        """
        diff_ids = ImageConfig.parse(self.config_bytes).diff_ids
        if len(diff_ids) != len(self.layer_names):
            raise CorruptError(
                f"{files.path}: manifest.json has {len(self.layer_names)} layers, the config {len(diff_ids)}"
            )
        layers = [
            _read_layer(files, name, diff_id)
            for name, diff_id in zip(self.layer_names, diff_ids, strict=True)
        ]
        is_docker = all(layer.media_type == media_types.OCI_LAYER_GZIP for layer in layers)
        config = Descriptor(
            media_types.DOCKER_CONFIG if is_docker else media_types.OCI_CONFIG,
            self.config_digest,
            len(self.config_bytes),
        )
        manifest = Manifest(
            media_types.DOCKER_MANIFEST if is_docker else media_types.OCI_MANIFEST,
            config,
            tuple(_in_docker_form(layer) if is_docker else layer for layer in layers),
        )
        names = {layer.digest: name for layer, name in zip(layers, self.layer_names, strict=True)}
        return manifest, {**names, config.digest: self.config_name}


def read_docker_manifest(files: SavedFiles) -> DockerManifest:
    """Read manifest.json with the config; UsageError for more images than one, CorruptError."""
    entries = _decode(files)
    if len(entries) != 1:
        raise UsageError(
            f"{files.path} holds {len(entries)} images; knarr push takes one",
            hint="docker save with the name of one image",
        )
    entry = entries[0]
    config, layers = entry.get("Config"), entry.get("Layers") or []
    if not isinstance(config, str) or not isinstance(layers, list):
        raise CorruptError(f"{files.path}: {_NAME} names no config, or no list of layers")
    with files.open(config) as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    stated = _HEX.search(config)
    if stated is not None and stated[0] != Digest.of(data).encoded:
        raise CorruptError(
            f"{files.path}: the config {config[:200]} has another digest", hint="save it again"
        )
    return DockerManifest(config, data, tuple(str(name) for name in layers))


def _decode(files: SavedFiles) -> list[dict[str, Any]]:
    with files.open(_NAME) as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        value = shaped(decode(data), _DOCUMENT) if len(data) <= MAX_MANIFEST_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise CorruptError(f"{files.path}: {_NAME} is not a JSON list of objects")
    return value


def _read_layer(files: SavedFiles, name: str, diff_id: Digest) -> Descriptor:
    hasher, size, head = hashlib.sha256(), 0, b""
    with files.open(name) as file:
        while chunk := file.read(_CHUNK_BYTES):
            head = head or chunk[:4]
            hasher.update(chunk)
            size += len(chunk)
    digest, compression = Digest("sha256", hasher.hexdigest()), detect_compression(head)
    if compression is Compression.NONE:
        if digest != diff_id:
            raise CorruptError(
                f"{files.path}: the layer {name} is {digest}, the config has {diff_id}", hint="save it again"
            )
    else:
        with files.open(name) as file, open_layer(file, expected_diff_id=str(diff_id)) as reader:
            reader.verify()
    return Descriptor(MEDIA_TYPE_OF_COMPRESSION[compression], digest, size)


def _in_docker_form(layer: Descriptor) -> Descriptor:
    return Descriptor(media_types.DOCKER_FORM_OF_LAYER[layer.media_type], layer.digest, layer.size_bytes)
