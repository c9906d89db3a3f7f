"""Writes a finished image to the files that the build's flags name."""

from collections.abc import Sequence
from pathlib import Path

from knarr.builder.outputs.output_files import check_output_files, write_output_files
from knarr.builder.request.request import Outputs
from knarr.builder.request.results import BuildResult
from knarr.errors import OutputError
from knarr.images.image import FinishedImage
from knarr.images.layout import OciLayout, is_layout, named, tags_of
from knarr.images.pusher import Pusher
from knarr.images.saved.archive import write_archive
from knarr.linux.whole_files import check_place, os_errors, writing
from knarr.oci.reference import Reference
from knarr.registry.client import Client


def check_outputs(outputs: Outputs) -> None:
    """Find out before the work what would keep the outputs from being written. Raises OutputError."""
    if outputs.oci_layout_path is not None:
        _check_layout(outputs.oci_layout_path)
        check_place("--oci-layout-path", outputs.oci_layout_path, directory=True)
    if outputs.tar_path is not None:
        check_place("--tar-path", outputs.tar_path)
    check_output_files(outputs.files)


def write_outputs(outputs: Outputs, image: FinishedImage, pusher: Pusher, client: Client) -> None:
    """Write all that is asked for: layout, tarball, then the tags, then the files about the result.

    Raises KnarrError; what comes before the one that failed is written then.
    """
    if outputs.oci_layout_path is not None:
        write_layout(outputs.oci_layout_path, image, outputs.destinations)
    if outputs.tar_path is not None:
        write_tarball(outputs.tar_path, image, outputs.destinations)
    pusher.put(image, outputs.pushed_to)
    is_pushed = bool(outputs.pushed_to)
    result = BuildResult(image.descriptor, outputs.destinations, is_pushed, image.config_digest)
    write_output_files(outputs.files, result, client)


def write_layout(path: Path, image: FinishedImage, names: Sequence[Reference]) -> None:
    """Write an OCI image layout with this one image, under the first name (image-spec image-layout.md).

    A layout that is there already keeps its blobs, and gets the new index in one step; a directory of
    anything else is refused. Raises OutputError, and then leaves nothing new behind but whole blobs.
    """
    _check_layout(path)
    with os_errors(f"writing the OCI layout {path}"), OciLayout.open(path) as layout:
        layout.put(image, [named(image.descriptor, tags_of(names)[0])])


def write_tarball(path: Path, image: FinishedImage, names: Sequence[Reference]) -> None:
    """Write an archive that `docker load` takes and that is an OCI layout as well.

    A file appears whole or not at all. Raises OutputError.
    """
    with os_errors(f"writing the tarball {path}"), writing(path) as file:
        write_archive(file, image, names)


def _check_layout(path: Path) -> None:
    with os_errors(f"reading the OCI layout {path}"):
        if path.exists() and not is_layout(path):
            raise OutputError(
                f"--oci-layout-path: {path} is a directory with other files",
                hint="name a new or empty directory, or an OCI image layout",
            )
