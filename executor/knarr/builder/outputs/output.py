"""Writes a finished image to the files that the build's flags name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from knarr.builder.outputs.file_system import FileSystem
from knarr.builder.outputs.output_files import check_output_files, write_output_files
from knarr.builder.request.exports import Export, ExportKind
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

OpenFiles = Callable[[], FileSystem]
"""Gives the files of the image, each time the same."""


def check_outputs(outputs: Outputs) -> None:
    """Find out before the work what would keep the outputs from being written. Raises OutputError."""
    for export in outputs.exports:
        if export.kind is ExportKind.OCI_LAYOUT:
            _check_layout(export.flag, export.path)
        if export.kind is ExportKind.FILES_DIRECTORY and export.path.exists() and not export.path.is_dir():
            raise OutputError(f"{export.flag}: {export.path} is no directory", hint="name a directory")
        check_place(export.flag, export.path, directory=export.is_directory)
    check_output_files(outputs.files)


def write_outputs(
    outputs: Outputs, image: FinishedImage, open_files: OpenFiles, pusher: Pusher, client: Client
) -> None:
    """Write all that is asked for: files of this machine, then the tags, then the files about the result.

    `open_files` gives the image's file system. Raises KnarrError; what comes before the one that failed is
    written then.
    """
    for export in outputs.exports:
        if export.is_image:
            _write_image(export, image)
        else:
            _write_files(export, open_files(), str(image.descriptor.platform))
    pusher.put(image, outputs.pushed_to)
    is_pushed = bool(outputs.pushed_to)
    result = BuildResult(image.descriptor, outputs.destinations, is_pushed, image.config_digest)
    write_output_files(outputs.files, result, client)


def _write_image(export: Export, image: FinishedImage) -> None:
    if export.kind is ExportKind.OCI_LAYOUT:
        write_layout(export.flag, export.path, image, export.names)
    else:
        for_docker = export.kind is ExportKind.DOCKER_ARCHIVE
        write_tarball(export.path, image, export.names, for_docker=for_docker)


def _write_files(export: Export, files: FileSystem, platform: str) -> None:
    with os_errors(f"writing {export.flag}"):
        if export.kind is ExportKind.FILES_ARCHIVE:
            with writing(export.path) as file:
                files.write_tar(file)
        else:
            place = export.path / platform.replace("/", "_") if export.is_split else export.path
            files.write_directory(place)


def write_layout(flag: str, path: Path, image: FinishedImage, names: Sequence[Reference]) -> None:
    """Write an OCI image layout with this one image, under the first name (image-spec image-layout.md).

    A layout that is there already keeps its blobs, and gets the new index in one step; a directory of
    anything else is refused. Raises OutputError, and then leaves nothing new behind but whole blobs.
    """
    _check_layout(flag, path)
    with os_errors(f"writing the OCI layout {path}"), OciLayout.open(path) as layout:
        layout.put(image, [named(image.descriptor, tags_of(names)[0])])


def write_tarball(
    path: Path, image: FinishedImage, names: Sequence[Reference], *, for_docker: bool = True
) -> None:
    """Write an archive that is an OCI layout, and that `docker load` takes as well.

    A file appears whole or not at all. Raises OutputError.
    """
    with os_errors(f"writing the tarball {path}"), writing(path) as file:
        write_archive(file, image, names, for_docker=for_docker)


def _check_layout(flag: str, path: Path) -> None:
    with os_errors(f"reading the OCI layout {path}"):
        if path.exists() and not is_layout(path):
            raise OutputError(
                f"{flag}: {path} is a directory with other files",
                hint="name a new or empty directory, or an OCI image layout",
            )
