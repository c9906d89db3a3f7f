"""`knarr build`: flags to a BuildRequest."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from knarr.build.builder import build_image
from knarr.build.context import find_dockerfile
from knarr.build.request import BuildRequest, Outputs
from knarr.cli.environment import this_platform, work_directory_parent
from knarr.cli.grammar import Flag, Grammar, parse_bool, parse_map, parse_pair
from knarr.cli.registries import open_client
from knarr.cli.report import PlainReporter, parse_verbosity
from knarr.errors import OutputError, UsageError
from knarr.oci.reference import Reference

REFUSED = (
    "annotation bucket cache cache-copy-layers cache-dir cache-repo cache-run-layers cache-ttl cleanup "
    "compressed-caching compression compression-level context-sub-path credential-helpers custom-platform "
    "customPlatform dryrun force force-build-metadata git ignore-path ignore-var-run image-download-retry "
    "image-format image-fs-extract-retry image-name-tag-with-digest-file image-name-with-digest-file "
    "kaniko-dir log-format log-timestamp materialize no-push-cache pre-cleanup preserve-context push-retry "
    "push-ignore-immutable-tag-errors registry-certificate registry-client-cert registry-mirror reproducible "
    "secret single-snapshot skip-default-registry-fallback skip-push-permission-check skip-tls-verify "
    "skip-tls-verify-pull skip-tls-verify-registry skip-unused-stages snapshot-mode snapshotMode tarPath "
    "use-new-run whitelist-var-run build-context"
).split()
"""Flags of kaniko and docker build that this version lacks; they are refused by name."""


class Switch:
    """A boolean flag's value, as pflag reads it."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    @classmethod
    def parse(cls, text: str) -> "Switch":
        """Read one of Go's words for a boolean."""
        return cls(on=parse_bool(text))


def _switch(name: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", help=text, metavar="BOOL", parser=Switch.parse
    )
    return option


_app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@_app.command(name="build")
def _command(
    context_path: Annotated[str | None, typer.Argument(metavar="[CONTEXT]", show_default=False)] = None,
    context: Annotated[str, typer.Option("--context", "-c", help="Build context: a directory.")] = "",
    dockerfile: Annotated[
        str,
        typer.Option(
            "--dockerfile",
            "-f",
            help="Dockerfile: as given, else within the context; default Dockerfile of the context.",
        ),
    ] = "",
    destination: Annotated[
        list[str] | None, typer.Option("--destination", "-d", help="Push to this name; repeatable.")
    ] = None,
    build_arg: Annotated[
        list[str] | None,
        typer.Option("--build-arg", help="NAME=VALUE, or NAME for the value in the environment; repeatable."),
    ] = None,
    target: Annotated[str, typer.Option("--target", help="Stage to build: a name or a number.")] = "",
    label: Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; repeatable.")] = None,
    no_push: Annotated[Switch, _switch("no-push", "Build, but push nothing.")] = "false",  # type: ignore[assignment]
    tar_path: Annotated[str, typer.Option("--tar-path", help="Write a tarball for docker load.")] = "",
    oci_layout_path: Annotated[
        str, typer.Option("--oci-layout-path", help="Write an OCI image layout directory.")
    ] = "",
    digest_file: Annotated[
        str, typer.Option("--digest-file", help="Write the manifest's digest, after success.")
    ] = "",
    insecure: Annotated[Switch, _switch("insecure", "Push over plain HTTP.")] = "false",  # type: ignore[assignment]
    insecure_pull: Annotated[Switch, _switch("insecure-pull", "Pull over plain HTTP.")] = "false",  # type: ignore[assignment]
    insecure_registry: Annotated[
        list[str] | None,
        typer.Option("--insecure-registry", help="HOST[:PORT] to reach over plain HTTP; repeatable."),
    ] = None,
    registry_map: Annotated[
        list[str] | None,
        typer.Option(
            "--registry-map", help="REGISTRY=HOST[/PREFIX] to pull from instead; ';' or repeatable."
        ),
    ] = None,
    isolation: Annotated[
        str, typer.Option("--isolation", help="How RUN is kept apart: auto, namespace or none.")
    ] = "auto",
    verbosity: Annotated[
        str, typer.Option("--verbosity", "-v", help="trace, debug, info, warn, error, fatal or panic.")
    ] = "info",
) -> None:
    """Build an image from a Dockerfile, then push it or write it to files."""
    reporter = PlainReporter(sys.stderr, verbosity=parse_verbosity(verbosity))
    environment = dict(os.environ)
    outputs = Outputs(
        destinations=tuple(_destination(text) for text in destination or ()),
        push=not no_push.on,
        tar_path=_path(tar_path),
        oci_layout_path=_path(oci_layout_path),
        digest_file=_path(digest_file),
    )
    _check_outputs(outputs)
    directory = _context(context_path, context)
    with (
        _work_directory(environment) as work,
        open_client(
            environment,
            reporter,
            insecure_push=insecure.on,
            insecure_pull=insecure_pull.on,
            insecure_registries=insecure_registry or (),
            registry_map=parse_map(registry_map or (), "--registry-map"),
        ) as client,
    ):
        request = BuildRequest(
            context=directory,
            dockerfile=find_dockerfile(dockerfile, directory, Path.cwd()),
            outputs=outputs,
            work_dir=work,
            created_s=int(time.time()),
            platform=this_platform(),
            build_args=_build_args(build_arg or (), environment),
            labels=tuple(parse_pair(text, "--label") for text in label or ()),
            target=target or None,
            isolation=isolation,
        )
        digest = build_image(request, client, reporter)
    print(digest)


def run_build(arguments: Sequence[str]) -> int:
    """Run `knarr build` with its arguments; the result is the exit status."""
    command = typer.main.get_command(_app)
    normal = grammar().normalise(arguments)
    positional = normal[normal.index("--") + 1 :] if "--" in normal else []
    if len(positional) > 1:
        raise UsageError(
            f"one build context is enough, got {' '.join(positional)}",
            hint="a switch takes its value behind '=': --no-push=false",
        )
    return command(normal, prog_name="knarr build", standalone_mode=False) or 0


def grammar() -> Grammar:
    """The flags of `knarr build`, read off the command itself."""
    options = [
        (parameter.opts, parameter.metavar == "BOOL")
        for parameter in typer.main.get_command(_app).params
        if parameter.opts[0].startswith("-")
    ]
    return Grammar.of((_flag(names, switch=switch) for names, switch in options), refused=REFUSED)


def _flag(names: Sequence[str], *, switch: bool) -> Flag:
    long = next(name[2:] for name in names if name.startswith("--"))
    short = next((name[1:] for name in names if not name.startswith("--")), None)
    return Flag(long, short, switch)


def _destination(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise UsageError(f"--destination takes a name with a tag, not a digest: {text}")
    return reference.with_default_tag()


def _check_outputs(outputs: Outputs) -> None:
    if outputs.push and not outputs.destinations and not outputs.need_all_layers:
        raise UsageError(
            "there is nowhere for the image to go",
            hint="give --destination, --oci-layout-path or --tar-path, or --no-push for a trial",
        )


def _context(positional: str | None, flag: str) -> Path:
    if positional and flag:
        raise UsageError(f"two build contexts: {positional} and --context {flag}")
    text = positional or flag or "/workspace/"
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "dir":
        raise UsageError(
            f"the build context {text} is not a directory",
            hint=f"this version of knarr fetches no {scheme}:// contexts: fetch it in a step before",
        )
    return Path(rest if separator else text).absolute()


def _path(text: str) -> Path | None:
    return Path(text).absolute() if text else None


def _build_args(values: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--build-arg takes NAME=VALUE or NAME, got {text!r}")
        if equals:
            result[name] = value
        elif name in environment:
            result[name] = environment[name]
    return result


@contextmanager
def _work_directory(environment: Mapping[str, str]) -> Iterator[Path]:
    parent = work_directory_parent(environment)
    try:
        path = Path(tempfile.mkdtemp(prefix="knarr-", dir=parent))
    except OSError as error:
        raise OutputError(
            f"can't make a work directory in {parent}: {error.strerror}",
            hint="KNARR_DIR names a directory on a disk with room, not on an overlay",
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
