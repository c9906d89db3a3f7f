"""Writes a tarball of one image that `docker load` takes, and that is an OCI image layout as well."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from knarr.images.image import FinishedImage
from knarr.images.layout import INDEX_FILE, LAYOUT_FILE, LAYOUT_VERSION, encode_index, named, tags_of
from knarr.oci.digest import Digest
from knarr.oci.manifest import encode_json
from knarr.oci.reference import Reference


def write_archive(
    file: BinaryIO, image: FinishedImage, names: Sequence[Reference], *, for_docker: bool = True
) -> None:
    """Write the tarball to a file that need not be seekable; not `for_docker` it is an OCI layout alone.

    Raises OSError, RegistryError, CorruptError.
    """
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for blob in image.blobs:
            with image.open(blob) as source:
                archive.addfile(_member(blob_name(blob.digest), blob.size_bytes), source)
        _add_bytes(archive, blob_name(image.descriptor.digest), image.manifest_bytes)
        for name, data in _metadata(image, tags_of(names), for_docker=for_docker):
            _add_bytes(archive, name, data)


def blob_name(digest: Digest) -> str:
    """The name of a blob's file, from the root of the layout."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _metadata(image: FinishedImage, tags: list[str], *, for_docker: bool) -> Iterator[tuple[str, bytes]]:
    manifest = {
        "Config": blob_name(image.config_digest),
        "RepoTags": tags,
        "Layers": [blob_name(layer.digest) for layer in image.manifest.layers],
    }
    yield INDEX_FILE, encode_index(named(image.descriptor, tag) for tag in tags)
    yield LAYOUT_FILE, LAYOUT_VERSION
    if for_docker:
        yield "manifest.json", encode_json([manifest])


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_member(name, len(data)), io.BytesIO(data))


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o644
    return info
