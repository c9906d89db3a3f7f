"""Writes what a build tells the pipeline around it: to files, devices, https URLs."""

from collections.abc import Iterable

from knarr.builder.request.output_files import OutputFile
from knarr.builder.request.results import BuildResult, image_references, images_left_out
from knarr.linux.whole_files import (
    append_to_file,
    check_place,
    os_errors,
    write_file,
)
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.transfer.put_file import put_file

_PLAIN_TEXT = "text/plain"
_LEFT_OUT = "the result IMAGES leaves out {} repositories that were pushed to: Tekton has no room for them"


def check_output_files(files: Iterable[OutputFile]) -> None:
    """Find out before the work what would keep files from being written. Raises OutputError."""
    for file in files:
        if file.path is not None:
            check_place(file.flag, file.path)


def write_output_files(files: Iterable[OutputFile], result: BuildResult, client: Client) -> None:
    """Write each file whole, in order; one with nothing to say is not touched.

    Raises OutputError; files before the one that failed are written then, those behind it are not.
    """
    for file in files:
        text = file.text(result)
        if text is not None:
            _write(file, text.encode(), client)
        if file.text is image_references and (left_out := images_left_out(result)):
            client.reporter.report(Note(_LEFT_OUT.format(left_out), "warning"))


def _write(file: OutputFile, data: bytes, client: Client) -> None:
    if isinstance(file.place, str):
        put_file(client, file.place, data, media_type=_PLAIN_TEXT)
        return
    with os_errors(f"writing {file.flag} {file.place}"):
        if file.append:
            append_to_file(file.place, data)
        else:
            write_file(file.place, data)
