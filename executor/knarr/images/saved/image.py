"""Reads the one image of saved files."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from knarr.errors import CorruptError, UsageError
from knarr.images.image import FinishedImage
from knarr.images.layout import INDEX_FILE, parse_index
from knarr.images.saved.archive import blob_name
from knarr.images.saved.docker import DockerManifest, has_docker_manifest, read_docker_manifest
from knarr.images.saved.files import SavedFiles, open_saved_files
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Manifest, parse_manifest

_CHUNK_BYTES = 1024 * 1024


def read_saved_image(path: Path) -> FinishedImage:
    """The one image of an OCI layout directory, or of a tarball of `docker save`, kaniko or knarr.

    Every blob is checked against its digest and size; layers that a tarball gives no digests for, against the
    config's diff_ids. Raises UsageError where there is not exactly one image, CorruptError.
    """
    files = open_saved_files(path)
    if not path.is_dir() and has_docker_manifest(files):
        docker = read_docker_manifest(files)
        image = _same_in_layout(files, docker) or _of_docker(files, docker)
    elif files.has(INDEX_FILE):
        image = _of_layout(files, _only_manifest(files))
    else:
        raise UsageError(
            f"{path} is neither an OCI image layout nor a tarball of docker save",
            hint="an OCI layout has an index.json, a tarball a manifest.json",
        )
    _verify(image, path)
    return image


def _same_in_layout(files: SavedFiles, docker: DockerManifest) -> FinishedImage | None:
    """The manifest that a tarball has beside docker's, where that is one, whole, and of the same config."""
    entries = _entries(files) if files.has(INDEX_FILE) else {}
    if len(entries) != 1 or not set(entries) & _present(files, entries.values()):
        return None
    (entry,) = entries.values()
    if entry.media_type not in media_types.MANIFESTS:
        return None
    image = _of_layout(files, entry)
    is_whole = _present(files, image.blobs) == {each.digest for each in image.blobs}
    return image if is_whole and image.config_digest == docker.config_digest else None


def _of_docker(files: SavedFiles, docker: DockerManifest) -> FinishedImage:
    manifest, names = docker.to_manifest(files)
    return _image(files, manifest, manifest.to_bytes(), names)


def _of_layout(files: SavedFiles, entry: Descriptor) -> FinishedImage:
    data = _read(files, entry, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(data, entry.media_type)
    if not isinstance(manifest, Manifest):
        raise CorruptError(f"{files.path}: {entry.digest} is no image manifest")
    blobs = (manifest.config, *manifest.layers)
    return _image(files, manifest, data, {each.digest: blob_name(each.digest) for each in blobs})


def _image(files: SavedFiles, manifest: Manifest, data: bytes, names: Mapping[Digest, str]) -> FinishedImage:
    """An image whose blobs are files of these names."""
    descriptor = Descriptor(manifest.media_type, Digest.of(data), len(data))
    return FinishedImage(descriptor, manifest, data, lambda blob: files.open(names[blob.digest]))


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
    with files.open(INDEX_FILE) as file:
        entries = parse_index(file.read(MAX_MANIFEST_BYTES + 1), files.path)
    return {entry.digest: entry for entry in entries}


def _present(files: SavedFiles, blobs: Iterable[Descriptor]) -> set[Digest]:
    return {each.digest for each in blobs if files.has(blob_name(each.digest))}


def _read(files: SavedFiles, descriptor: Descriptor, limit_bytes: int) -> bytes:
    with files.open(blob_name(descriptor.digest)) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise CorruptError(f"{files.path}: {descriptor.digest} is larger than {limit_bytes} bytes")
    if Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
        raise CorruptError(f"{files.path}: the content of {descriptor.digest} has another digest")
    return data


def _verify(image: FinishedImage, path: Path) -> None:
    for blob in image.blobs:
        _verify_blob(image, blob, path)
    with image.open(image.manifest.config) as file:
        diff_ids = ImageConfig.parse(file.read(MAX_MANIFEST_BYTES + 1)).diff_ids
    if len(diff_ids) != len(image.manifest.layers):
        raise CorruptError(
            f"{path}: the manifest has {len(image.manifest.layers)} layers, "
            f"the config {len(diff_ids)} diff_ids",
            hint="it may not be a container image",
        )


def _verify_blob(image: FinishedImage, blob: Descriptor, path: Path) -> None:
    hasher, size = hashlib.new(blob.digest.algorithm), 0
    with image.open(blob) as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
            size += len(chunk)
    if size != blob.size_bytes or hasher.hexdigest() != blob.digest.encoded:
        raise CorruptError(
            f"{path}: blob {blob.digest} of {blob.size_bytes} bytes is damaged: "
            f"it has {size} bytes of digest {hasher.hexdigest()}",
            hint="save the image again",
        )
