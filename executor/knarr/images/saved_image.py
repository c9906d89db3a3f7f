"""One image in saved files, as it is pushed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from knarr.errors import CorruptError, UsageError
from knarr.images.saved_docker import DockerManifest, has_docker_manifest, read_docker_manifest
from knarr.images.saved_files import SavedFiles, open_saved_files
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest, parse_manifest
from knarr.oci.reference import Reference
from knarr.registry.attempts import attempt
from knarr.registry.client import Client
from knarr.registry.message import BlobSource
from knarr.registry.push import check_push, push_image

_INDEX = "index.json"
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SavedImage:
    """A manifest with its very bytes, and the files that hold its blobs."""

    manifest: Manifest
    manifest_bytes: bytes
    files: SavedFiles
    names: Mapping[Digest, str]

    def source(self, descriptor: Descriptor) -> BlobSource:
        """Opens a blob."""
        return partial(self.files.open, self.names[descriptor.digest])


def read_saved_image(path: Path) -> SavedImage:
    """The one image of an OCI layout directory, or of a tarball of `docker save`, kaniko or knarr.

    Every blob is checked against its digest and size; layers that a tarball gives no digests for, against the
    config's diff_ids. Raises UsageError where there is not exactly one image, CorruptError.
    """
    files = open_saved_files(path)
    if not path.is_dir() and has_docker_manifest(files):
        docker = read_docker_manifest(files)
        image = _same_in_layout(files, docker) or _of_docker(files, docker)
    elif files.has(_INDEX):
        image = _of_layout(files, _only_manifest(files))
    else:
        raise UsageError(
            f"{path} is neither an OCI image layout nor a tarball of docker save",
            hint="an OCI layout has an index.json, a tarball a manifest.json",
        )
    _verify(image)
    return image


def push_saved_image(client: Client, image: SavedImage, destinations: Sequence[Reference]) -> None:
    """Push to every destination in order. Raises RegistryError; a tag not reached by then is as it was."""
    if client.rules.check_push:
        for repository in dict.fromkeys(Reference(each.registry, each.repository) for each in destinations):
            check_push(client, repository)
    for destination in destinations:
        attempt(
            client,
            client.policy.extra_pushes,
            f"push {destination}",
            lambda _, to=destination: push_image(  # type: ignore[misc]
                client, to, image.manifest, image.source, manifest_bytes=image.manifest_bytes
            ),
        )


def _same_in_layout(files: SavedFiles, docker: DockerManifest) -> SavedImage | None:
    """The manifest that a tarball has beside docker's, where that is one, whole, and of the same config."""
    entries = _entries(files) if files.has(_INDEX) else {}
    if len(entries) != 1 or not set(entries) & _present(files, entries.values()):
        return None
    (entry,) = entries.values()
    if entry.media_type not in media_types.MANIFESTS:
        return None
    image = _of_layout(files, entry)
    blobs = (image.manifest.config, *image.manifest.layers)
    is_whole = _present(files, blobs) == {each.digest for each in blobs}
    return image if is_whole and image.manifest.config.digest == docker.config_digest else None


def _of_docker(files: SavedFiles, docker: DockerManifest) -> SavedImage:
    manifest, names = docker.to_manifest(files)
    return SavedImage(manifest, manifest.to_bytes(), files, names)


def _of_layout(files: SavedFiles, entry: Descriptor) -> SavedImage:
    data = _read(files, entry, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(data, entry.media_type)
    if not isinstance(manifest, Manifest):
        raise CorruptError(f"{files.path}: {entry.digest} is no image manifest")
    blobs = (manifest.config, *manifest.layers)
    return SavedImage(manifest, data, files, {each.digest: _blob_name(each.digest) for each in blobs})


def _only_manifest(files: SavedFiles) -> Descriptor:
    entries = _entries(files)
    if len(entries) != 1:
        raise UsageError(
            f"{files.path} holds {len(entries)} images; knarr push takes one", hint="save each by itself"
        )
    (entry,) = entries.values()
    if entry.media_type in media_types.INDEXES:
        raise UsageError(
            f"{files.path} holds an index of images for several platforms; knarr push takes one image",
            hint="skopeo copy --all oci:DIRECTORY docker://NAME pushes all of them",
        )
    return entry


def _entries(files: SavedFiles) -> dict[Digest, Descriptor]:
    with files.open(_INDEX) as file:
        index = parse_manifest(file.read(MAX_MANIFEST_BYTES + 1), media_types.OCI_INDEX)
    if not isinstance(index, Index):
        raise CorruptError(f"{files.path}: {_INDEX} is no image index")
    return {entry.digest: entry for entry in index.manifests}


def _present(files: SavedFiles, blobs: Iterable[Descriptor]) -> set[Digest]:
    return {each.digest for each in blobs if files.has(_blob_name(each.digest))}


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _read(files: SavedFiles, descriptor: Descriptor, limit_bytes: int) -> bytes:
    with files.open(_blob_name(descriptor.digest)) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise CorruptError(f"{files.path}: {descriptor.digest} is larger than {limit_bytes} bytes")
    if Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
        raise CorruptError(f"{files.path}: the content of {descriptor.digest} has another digest")
    return data


def _verify(image: SavedImage) -> None:
    config = image.manifest.config
    for descriptor in (config, *image.manifest.layers):
        _verify_blob(image, descriptor)
    with image.source(config)() as file:
        diff_ids = ImageConfig.parse(file.read(MAX_MANIFEST_BYTES + 1)).diff_ids
    if len(diff_ids) != len(image.manifest.layers):
        raise CorruptError(
            f"{image.files.path}: the manifest has {len(image.manifest.layers)} layers, "
            f"the config {len(diff_ids)} diff_ids",
            hint="it may not be a container image",
        )


def _verify_blob(image: SavedImage, descriptor: Descriptor) -> None:
    hasher, size = hashlib.new(descriptor.digest.algorithm), 0
    with image.source(descriptor)() as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
            size += len(chunk)
    if size != descriptor.size_bytes or hasher.hexdigest() != descriptor.digest.encoded:
        raise CorruptError(
            f"{image.files.path}: blob {descriptor.digest} of {descriptor.size_bytes} bytes is damaged: "
            f"it has {size} bytes of digest {hasher.hexdigest()}",
            hint="save the image again",
        )
