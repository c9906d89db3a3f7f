"""`knarr warm`: base images into a directory for later builds."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from secrets import token_hex

from knarr.builder.sources.context import read_dockerfile
from knarr.cli.command import Command
from knarr.cli.flags.commands import WarmFlags
from knarr.cli.flags.logging import LogFlags
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.values.arguments import parse_build_args
from knarr.cli.values.cache import parse_ttl
from knarr.cli.values.environment import read_environment, this_platform
from knarr.cli.values.registries import open_client
from knarr.dockerfile.language.parser import parse
from knarr.dockerfile.language.scope import global_scope
from knarr.dockerfile.stages.stages import ImageReference, plan_stages
from knarr.errors import DockerfileError, KnarrError, UsageError
from knarr.images.warmer import Warmer
from knarr.oci.platform import Platform
from knarr.progress import Note, Reporter
from knarr.registry.client import Client
from knarr.registry.transfer.download import download
from knarr.report.session import ReportSession

GROUPS = (WarmFlags, RegistryFlags, LogFlags)
_MAX_DOCKERFILE_BYTES = 16 * 1024 * 1024


def run_warm(arguments: Sequence[str]) -> int:
    """Run `knarr warm` with its arguments; the result is the exit status."""
    return Command("warm", GROUPS, _warm).run(arguments)


def _warm(flags: WarmFlags, registries: RegistryFlags, log: LogFlags) -> int:
    """Put base images into a directory, where builds with --cache --cache-dir find them."""
    if not flags.image and not flags.dockerfile:
        raise UsageError("you must select at least one image to cache or a dockerfilepath to parse")
    environment = read_environment(os.environ)
    with (
        ReportSession.of(log, environment, sys.stderr, token=token_hex(16)) as reporter,
        open_client(environment, reporter, registries) as client,
    ):
        platform = _platform(flags)
        build_args = parse_build_args(flags.build_arg, environment)
        wanted = dict.fromkeys((name, platform) for name in flags.image)
        if flags.dockerfile:
            text = _read(flags.dockerfile, client)
            wanted |= dict.fromkeys(_base_images(text, build_args, platform, reporter))
        warmer = Warmer(
            client,
            Path(flags.cache_dir).absolute(),
            ttl_s=parse_ttl(flags.cache_ttl),
            now_s=time.time(),
            force=flags.force.on,
        )
        return _warm_all(warmer, wanted, reporter)


def _warm_all(warmer: Warmer, wanted: Mapping[tuple[str, Platform], None], reporter: Reporter) -> int:
    """One after the other: what they share is pulled once. Fails only where all fail."""
    failed: list[KnarrError] = []
    for name, platform in wanted:
        try:
            digest = warmer.warm(name, platform)
        except KnarrError as error:
            failed.append(error)
            reporter.report(Note(f"can't warm {name}: {error.message}", "warning"))
        else:
            print(f"{digest} {name}")
    if failed and len(failed) == len(wanted):
        raise KnarrError("failed to warm any of the given images", hint=failed[0].hint)
    return 0


def _platform(flags: WarmFlags) -> Platform:
    text = flags.custom_platform or flags.old_custom_platform
    return Platform.parse(text) if text else this_platform()


def _read(place: str, client: Client) -> bytes:
    if not place.startswith(("http://", "https://")):
        return read_dockerfile(Path(place).absolute())
    with tempfile.TemporaryDirectory() as directory, client.for_downloads() as downloads:
        path = Path(directory, "Dockerfile")
        download(downloads, place, path, limit_bytes=_MAX_DOCKERFILE_BYTES)
        return path.read_bytes()


def _base_images(
    data: bytes, build_args: Mapping[str, str], platform: Platform, reporter: Reporter
) -> Iterator[tuple[str, Platform]]:
    """The images that the stages start from, each with its platform; a FROM that makes no sense is told."""
    dockerfile = parse(data, file="Dockerfile")
    global_args = global_scope(
        dockerfile.global_args,
        build_args=build_args,
        build_platform=str(this_platform()),
        target_platform=str(platform),
        target_stage=None,
        escape=dockerfile.directives.escape,
    )
    for stage in dockerfile.stages:
        try:
            planned = plan_stages(dockerfile, stage, global_args)[-1]
            if isinstance(planned.base, ImageReference):
                yield planned.base.name, Platform.parse(planned.platform) if planned.platform else platform
        except (DockerfileError, UsageError) as error:
            reporter.report(Note(f"can't tell the image of {stage.from_.image}: {error.message}", "warning"))
