"""`knarr build`: flags to a BuildRequest."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from knarr.builder.build import dry_run, open_build
from knarr.builder.request.contexts import ContextKey, NamedContext, parse_named_context
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.builder.sources.context import fetch_dockerfile, find_dockerfile
from knarr.builder.sources.context_source import ContextSource
from knarr.cli.command import Command
from knarr.cli.flags.cache import CacheFlags
from knarr.cli.flags.context import ContextFlags
from knarr.cli.flags.isolation import IsolationFlags
from knarr.cli.flags.logging import LogFlags
from knarr.cli.flags.mounts import MountFlags
from knarr.cli.flags.outputs import OutputFlags
from knarr.cli.flags.refused import REFUSED
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.flags.results import ResultFlags
from knarr.cli.flags.run import RunFlags
from knarr.cli.flags.snapshots import SnapshotFlags
from knarr.cli.flags.upkeep import UpkeepFlags
from knarr.cli.values.arguments import parse_build_args, parse_context_source, parse_targets, with_epoch
from knarr.cli.values.cache import cache_places, read_cache
from knarr.cli.values.compatibility import (
    check_extra_args,
    is_plan_printed,
    report_needless,
    snapshot_rules,
    work_directory,
)
from knarr.cli.values.environment import (
    find_git,
    named_files,
    read_environment,
    this_platform,
    work_directory_parent,
)
from knarr.cli.values.grammar import parse_pair
from knarr.cli.values.output.outputs import read_outputs, report_old_flags, target_platform
from knarr.cli.values.registries import open_client
from knarr.cli.values.run_settings import read_run_settings
from knarr.cli.values.secrets import read_credentials
from knarr.cli.values.work_directory import open_work_directory
from knarr.errors import UsageError
from knarr.linux.whole_files import STDOUT, descriptor_of
from knarr.progress import Reporter
from knarr.registry.client import Client
from knarr.report.session import ReportSession

GROUPS = (
    ContextFlags,
    OutputFlags,
    ResultFlags,
    RegistryFlags,
    CacheFlags,
    IsolationFlags,
    RunFlags,
    MountFlags,
    SnapshotFlags,
    UpkeepFlags,
    LogFlags,
)


def run_build(arguments: Sequence[str]) -> int:
    """Run `knarr build` with its arguments; the result is the exit status."""
    return Command("build", GROUPS, _build, refused=REFUSED).run(arguments)


@dataclass(frozen=True, slots=True)
class BuildFlags:
    """The flags of one build, in the order of GROUPS."""

    source: ContextFlags
    output: OutputFlags
    results: ResultFlags
    registries: RegistryFlags
    caching: CacheFlags
    isolation: IsolationFlags
    run: RunFlags
    mounts: MountFlags
    snapshots: SnapshotFlags
    upkeep: UpkeepFlags
    log: LogFlags


def _build(*groups: Any) -> int:
    """Build an image from a Dockerfile, then push it or write it to files."""
    flags = BuildFlags(*groups)
    with ReportSession.of(flags.log, os.environ, sys.stderr, token=token_hex(16)) as reporter:
        return _build_and_tell(flags, read_environment(os.environ), reporter)


def _build_and_tell(flags: BuildFlags, environment: Mapping[str, str], reporter: Reporter) -> int:
    check_extra_args(flags.upkeep)
    report_old_flags(flags.output, this_platform(), reporter)
    report_needless(flags.snapshots, flags.upkeep, reporter)
    outputs = read_outputs(flags.output, flags.results, environment, Path.cwd(), this_platform())
    _check_stdout(outputs, flags.log)
    source = _context_source(flags.source)
    parent = work_directory(flags.upkeep, environment) or work_directory_parent(environment)
    with (
        open_work_directory(parent) as work,
        open_client(environment, reporter, flags.registries) as client,
    ):
        context = source.open(work, sys.stdin.buffer)
        dockerfile = _dockerfile(flags.source.dockerfile, context, work, client)
        request = _request(flags, environment, outputs, context, dockerfile, work)
        if flags.output.dryrun:
            _print_plan(dry_run(request, client, reporter))
            return 0
        with open_build(request, client, reporter) as build:
            plan = build.resolve()
            decisions = build.decide(plan)
            if is_plan_printed(environment):
                _print_plan(build.describe(plan, decisions))
            digest = build.deliver(build.execute(plan, decisions))
    if not outputs.use_stdout and descriptor_of(Path(flags.log.report)) != STDOUT:
        print(digest)
    return 0


def _check_stdout(outputs: Outputs, log: LogFlags) -> None:
    """An archive on standard output stands alone there, and is no text for a terminal. Raises UsageError."""
    for export in outputs.exports:
        if export.is_stdout and descriptor_of(Path(log.report)) == STDOUT:
            raise UsageError(f"{export.flag} and --report both want standard output")
        if export.is_stdout and sys.stdout.isatty():
            raise UsageError(
                f"{export.flag}: standard output is a terminal", hint="name a file, or pipe it on"
            )


def _print_plan(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


def _request(
    flags: BuildFlags,
    environment: Mapping[str, str],
    outputs: Outputs,
    context: Path,
    dockerfile: Path,
    work: Path,
) -> BuildRequest:
    reports = [Path(flags.log.report).absolute()] if flags.log.report else []
    credentials = read_credentials(flags.mounts.secret, flags.mounts.ssh, environment)
    return BuildRequest(
        context=context,
        dockerfile=dockerfile,
        outputs=outputs,
        work_dir=work,
        created_s=int(time.time()),
        platform=target_platform(flags.output, this_platform()),
        build_platform=this_platform(),
        reproducible=flags.output.reproducible.on,
        build_args=with_epoch(parse_build_args(flags.source.build_arg, environment), environment),
        labels=tuple(parse_pair(text, "--label") for text in flags.source.label),
        targets=parse_targets(flags.source.target),
        isolation=flags.isolation.isolation,
        force=flags.isolation.force.on,
        contexts=_named_contexts(flags.mounts),
        credentials=credentials,
        single_snapshot=flags.snapshots.single_snapshot.on,
        snapshots=snapshot_rules(flags.snapshots),
        cache=read_cache(flags.caching, outputs, Path.cwd()),
        run=read_run_settings(flags.run),
        fresh_stages=frozenset(
            name.strip().lower() for text in flags.caching.no_cache_filter for name in text.split(",")
        )
        - {""},
        mount_cache_dir=_path(flags.mounts.mount_cache_dir),
        git=find_git(environment, credentials.agents.get("default")),
        kept=(*named_files(environment), *reports),
        more_places=(*reports, *cache_places(flags.caching, Path.cwd())),
    )


def _dockerfile(text: str, context: Path, work: Path, client: Client) -> Path:
    if text.startswith(("http://", "https://")):
        return fetch_dockerfile(text, work / "fetched-dockerfile", client)
    return find_dockerfile(text, context, Path.cwd())


def _context_source(flags: ContextFlags) -> ContextSource:
    source = parse_context_source(flags.context_path, flags.context, flags.context_sub_path)
    if source.path is None and source.is_archive and sys.stdin.isatty():
        raise UsageError(
            "--context tar://stdin: standard input is a terminal", hint="pipe an archive into it"
        )
    return source


def _named_contexts(flags: MountFlags) -> dict[ContextKey, NamedContext]:
    return dict(parse_named_context(text, Path.cwd()) for text in flags.build_context)


def _path(text: str) -> Path | None:
    return Path(text).absolute() if text else None
