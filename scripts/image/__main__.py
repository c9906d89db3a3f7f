"""Builds the images with knarr itself, as archives for `docker load`.

    python -m scripts.image [--architecture amd64|arm64] [--output DIRECTORY] [--downloads DIRECTORY]

Downloads are kept and used again: remove their directory for Debian's newest packages. The images'
creation time is SOURCE_DATE_EPOCH, or else now. Nothing of another architecture is run to make its images.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.image.architecture import ARCHITECTURES, Architecture, native_architecture
from scripts.image.bytecode import Compiler
from scripts.image.downloads import fetch
from scripts.image.sizes import write_size_table
from scripts.image.tree import lay_out

from knarr.builder.build import build_image
from knarr.builder.request.exports import Export, ExportKind
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.cli.flags.logging import LogFlags
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.report.session import ReportSession
from knarr.version import __version__

_REPOSITORY = Path(__file__).parents[2]
_DOCKERFILE = _REPOSITORY / "images/Dockerfile"
_IMAGES = {
    "executor": (
        f"knarr/executor:{__version__}",
        f"knarr/executor:{__version__}-debug",
        "knarr/executor:debug",
    ),
    "warmer": (f"knarr/warmer:{__version__}",),
}
"""Stage of the Dockerfile to the names of its image; `debug` is the executor, which has a shell."""


@dataclass(frozen=True, slots=True)
class _Options:
    architecture: Architecture
    output: Path
    downloads: Path
    size_table: Path | None


def main(arguments: Sequence[str]) -> None:
    """Make the archives; raises what went wrong."""
    options = _parse(arguments)
    native = native_architecture()
    compiler = Compiler(native, fetch(native, options.downloads / native.debian))
    downloads = fetch(options.architecture, options.downloads / options.architecture.debian)
    options.output.mkdir(parents=True, exist_ok=True)
    suffix = "" if options.architecture == native else f"-{options.architecture.debian}"
    with tempfile.TemporaryDirectory(prefix="knarr-images-") as scratch:
        context = Path(scratch, "context")
        tree = lay_out(options.architecture, downloads, compiler, context)
        for stage, names in _IMAGES.items():
            archive = options.output / f"{stage}{suffix}.tar"
            _build(stage, names, context, archive, options.architecture)
            print(archive)
        if options.size_table is not None:
            write_size_table(tree, options.output / f"executor{suffix}.tar", options.size_table)


def _parse(arguments: Sequence[str]) -> _Options:
    parser = argparse.ArgumentParser(prog="python -m scripts.image", description=__doc__)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default=native_architecture().debian)
    parser.add_argument("--output", type=Path, default=_REPOSITORY / "build/images")
    parser.add_argument("--downloads", type=Path, default=_REPOSITORY / "build/image-downloads")
    parser.add_argument(
        "--size-table", type=Path, help="write the sizes of the executor's parts to this file"
    )
    found = parser.parse_args(arguments)
    return _Options(
        ARCHITECTURES[found.architecture],
        found.output.absolute(),
        found.downloads.absolute(),
        found.size_table,
    )


def _build(
    stage: str, names: Sequence[str], context: Path, archive: Path, architecture: Architecture
) -> None:
    created = os.environ.get("SOURCE_DATE_EPOCH")
    references = tuple(Reference.parse(name) for name in names)
    export = Export("--tar-path", ExportKind.DOCKER_ARCHIVE, archive, references)
    with tempfile.TemporaryDirectory(prefix="knarr-build-") as work, Client() as client:
        request = BuildRequest(
            context=context,
            dockerfile=_DOCKERFILE,
            outputs=Outputs(push=False, exports=(export,)),
            work_dir=Path(work),
            created_s=int(created) if created else int(time.time()),
            platform=architecture.platform,
            build_args={"VERSION": __version__},
            targets=(stage,),
            isolation="none",
        )
        with ReportSession.of(LogFlags(verbosity="warn"), {}, sys.stderr, token="") as reporter:
            build_image(request, client, reporter)


if __name__ == "__main__":
    main(sys.argv[1:])
