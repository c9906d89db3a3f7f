"""Writes a finished image to files: an OCI image layout, a tarball for `docker load`."""

import io
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from knarr.builder.outputs.output_files import check_output_files
from knarr.builder.request.request import Outputs
from knarr.errors import OutputError
from knarr.images.image import FinishedImage
from knarr.images.store import Store
from knarr.linux.whole_files import check_place, os_errors, writing
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor, encode_json
from knarr.oci.reference import Reference

_CHUNK_BYTES = 1024 * 1024
NAMELESS = "unset-repo/unset-image-name:latest"
"""The name that kaniko gives to a tarball's image where there is no destination."""


def check_outputs(outputs: Outputs) -> None:
    """Find out before the work what would keep the outputs from being written. Raises OutputError."""
    if outputs.oci_layout_path is not None:
        _check_layout(outputs.oci_layout_path)
        check_place("--oci-layout-path", outputs.oci_layout_path, directory=True)
    if outputs.tar_path is not None:
        check_place("--tar-path", outputs.tar_path)
    check_output_files(outputs.files)


def _check_layout(path: Path) -> None:
    with os_errors(f"reading the OCI layout {path}"):
        if path.exists() and any(path.iterdir()) and not (path / "oci-layout").exists():
            raise OutputError(
                f"--oci-layout-path: {path} is a directory with other files",
                hint="name a new or empty directory, or an OCI image layout",
            )


def write_layout(path: Path, image: FinishedImage, blobs: Store, names: Sequence[Reference]) -> None:
    """Write an OCI image layout with this one image, under the first name (image-spec image-layout.md).

    A layout that is there already keeps its blobs, and gets the new index in one step; a directory of
    anything else is refused. Raises OutputError, and then leaves nothing new behind but whole blobs.
    """
    _check_layout(path)
    made = not path.exists()
    try:
        with os_errors(f"writing the OCI layout {path}"):
            _fill_layout(
                Store.create(path, durable=True), image, blobs, _named(image.descriptor, _tags(names)[0])
            )
    except BaseException:
        if made:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _fill_layout(layout: Store, image: FinishedImage, blobs: Store, entry: Descriptor) -> None:
    for layer in image.layers:
        if not layout.has(layer.descriptor.digest):
            with blobs.open(layer.descriptor.digest) as source, layout.writer(layer.descriptor) as writer:
                shutil.copyfileobj(source, writer, _CHUNK_BYTES)
    layout.add(image.config)
    layout.add(image.manifest)
    layout.write_index([entry])
    layout.finish()


def write_tarball(path: Path, image: FinishedImage, blobs: Store, names: Sequence[Reference]) -> None:
    """Write an archive that `docker load` takes and that is an OCI layout as well.

    A file appears whole or not at all. Raises OutputError.
    """
    with os_errors(f"writing the tarball {path}"), writing(path) as file:
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            for digest in dict.fromkeys(layer.descriptor.digest for layer in image.layers):
                _add_blob(archive, digest, blobs)
            _add_bytes(archive, _blob_name(image.config_digest), image.config)
            _add_bytes(archive, _blob_name(image.descriptor.digest), image.manifest)
            for name, data in _tarball_metadata(image, names):
                _add_bytes(archive, name, data)


def _tarball_metadata(image: FinishedImage, names: Sequence[Reference]) -> Iterator[tuple[str, bytes]]:
    tags = _tags(names)
    manifest = {
        "Config": _blob_name(image.config_digest),
        "RepoTags": tags,
        "Layers": [_blob_name(layer.descriptor.digest) for layer in image.layers],
    }
    index = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [_named(image.descriptor, tag).to_json() for tag in tags],
    }
    yield "index.json", encode_json(index)
    yield "oci-layout", encode_json({"imageLayoutVersion": "1.0.0"})
    yield "manifest.json", encode_json([manifest])


def _tags(names: Sequence[Reference]) -> list[str]:
    return [str(name.with_default_tag()) for name in names] or [NAMELESS]


def _named(descriptor: Descriptor, name: str) -> Descriptor:
    annotations = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    return Descriptor(
        descriptor.media_type, descriptor.digest, descriptor.size_bytes, annotations, descriptor.platform
    )


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _add_blob(archive: tarfile.TarFile, digest: Digest, blobs: Store) -> None:
    info = tarfile.TarInfo(_blob_name(digest))
    info.size, info.mode = blobs.size_bytes(digest), 0o644
    with blobs.open(digest) as source:
        archive.addfile(info, source)


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))
