"""`knarr index`: images of several platforms under one name."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

from knarr.builder.outputs.output_files import check_output_files, write_output_files
from knarr.builder.request.results import BuildResult
from knarr.cli.command import Command
from knarr.cli.flags.commands import IndexFlags
from knarr.cli.flags.logging import LogFlags
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.flags.results import ResultFlags
from knarr.cli.values.environment import read_environment
from knarr.cli.values.output.annotations import INDEX, Annotation, IndexAnnotations, for_index
from knarr.cli.values.output.destinations import parse_destinations
from knarr.cli.values.output.result_files import read_output_files
from knarr.cli.values.registries import open_client
from knarr.errors import UsageError
from knarr.images.index import IndexRequest, push_index
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.report.session import ReportSession

GROUPS = (IndexFlags, ResultFlags, RegistryFlags, LogFlags)


def run_index(arguments: Sequence[str]) -> int:
    """Run `knarr index` with its arguments; the result is the exit status."""
    return Command("index", GROUPS, _index).run(arguments)


def _index(flags: IndexFlags, results: ResultFlags, registries: RegistryFlags, log: LogFlags) -> int:
    """Make an image index of images that are in registries, then push it."""
    annotations = for_index(Annotation.parse(text, default=INDEX) for text in flags.annotation)
    request = _request(flags, annotations)
    environment = read_environment(os.environ)
    files = tuple(read_output_files(results, environment, Path.cwd()))
    check_output_files(files)
    with (
        ReportSession.of(log, environment, sys.stderr, token=token_hex(16)) as reporter,
        open_client(environment, reporter, registries) as client,
    ):
        for text in annotations.notes:
            reporter.report(Note(text, "warning"))
        descriptor = push_index(client, request)
        write_output_files(files, BuildResult(descriptor, request.destinations, pushed=True), client)
    if not any(file.is_stdout for file in files):
        print(descriptor.digest)
    return 0


def _request(flags: IndexFlags, annotations: IndexAnnotations) -> IndexRequest:
    if not flags.image:
        raise UsageError(
            "index takes the images that it is made of", hint="knarr index IMAGE IMAGE -d DESTINATION"
        )
    if not flags.destination:
        raise UsageError("at least one --destination is required")
    if flags.annotation and not flags.prefer_index:
        raise UsageError(
            "--annotation does not go with --prefer-index=false", hint="what is copied as it is takes none"
        )
    return IndexRequest(
        tuple(Reference.parse(text).with_default_tag() for text in flags.image),
        parse_destinations(flags.destination, flags.extra_tag),
        annotations.index,
        entry_annotations=annotations.entries,
        prefer_index=flags.prefer_index.on,
    )
