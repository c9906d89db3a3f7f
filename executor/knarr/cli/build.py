"""`knarr build`: flags to a BuildRequest."""

import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from knarr.build.builder import build_image
from knarr.build.context import find_dockerfile
from knarr.build.contexts import ContextKey, NamedContext, parse_named_context
from knarr.build.request import BuildRequest
from knarr.cli.arguments import parse_build_args, parse_context, with_epoch
from knarr.cli.cache import read_cache
from knarr.cli.command import Command
from knarr.cli.environment import find_git, this_platform, work_directory_parent
from knarr.cli.flags.cache import CacheFlags
from knarr.cli.flags.context import ContextFlags
from knarr.cli.flags.isolation import IsolationFlags
from knarr.cli.flags.logging import LogFlags
from knarr.cli.flags.mounts import MountFlags
from knarr.cli.flags.outputs import OutputFlags
from knarr.cli.flags.refused import REFUSED
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.flags.results import ResultFlags
from knarr.cli.grammar import parse_pair
from knarr.cli.outputs import read_outputs, report_old_flags, target_platform
from knarr.cli.preload import load_everything
from knarr.cli.registries import open_client
from knarr.cli.report.session import ReportSession
from knarr.cli.secrets import read_credentials
from knarr.errors import OutputError
from knarr.progress import Reporter

GROUPS = (
    ContextFlags,
    OutputFlags,
    ResultFlags,
    RegistryFlags,
    CacheFlags,
    IsolationFlags,
    MountFlags,
    LogFlags,
)

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def run_build(arguments: Sequence[str]) -> int:
    """Run `knarr build` with its arguments; the result is the exit status."""
    return Command("build", GROUPS, _build, refused=REFUSED).run(arguments)


def _build(
    source: ContextFlags,
    output: OutputFlags,
    results: ResultFlags,
    registries: RegistryFlags,
    caching: CacheFlags,
    isolation: IsolationFlags,
    mounts: MountFlags,
    log: LogFlags,
) -> int:
    """Build an image from a Dockerfile, then push it or write it to files."""
    with ReportSession.of(log, os.environ, sys.stderr, token=token_hex(16)) as reporter:
        return _build_and_tell(source, output, results, registries, caching, isolation, mounts, log, reporter)


def _build_and_tell(
    source: ContextFlags,
    output: OutputFlags,
    results: ResultFlags,
    registries: RegistryFlags,
    caching: CacheFlags,
    isolation: IsolationFlags,
    mounts: MountFlags,
    log: LogFlags,
    reporter: Reporter,
) -> int:
    environment = dict(os.environ)
    report_old_flags(output, reporter)
    outputs = read_outputs(output, results, environment, Path.cwd())
    context = parse_context(source.context_path, source.context)
    with (
        _work_directory(environment) as work,
        open_client(environment, reporter, registries) as client,
    ):
        request = BuildRequest(
            context=context,
            dockerfile=find_dockerfile(source.dockerfile, context, Path.cwd()),
            outputs=outputs,
            work_dir=work,
            created_s=int(time.time()),
            platform=target_platform(output, this_platform()),
            build_platform=this_platform(),
            reproducible=output.reproducible.on,
            build_args=with_epoch(parse_build_args(source.build_arg, environment), environment),
            labels=tuple(parse_pair(text, "--label") for text in source.label),
            target=source.target or None,
            isolation=isolation.isolation,
            force=isolation.force.on,
            contexts=_named_contexts(mounts),
            credentials=read_credentials(mounts.secret, mounts.ssh, environment),
            cache=read_cache(caching, outputs, Path.cwd()),
            mount_cache_dir=_path(mounts.mount_cache_dir),
            git=find_git(environment),
            kept=(Path(log.report).absolute(),) if log.report else (),
        )
        digest = build_image(request, client, reporter, load_code=load_everything)
    if not any(file.is_stdout for file in outputs.files):
        print(digest)
    return 0


def _named_contexts(flags: MountFlags) -> dict[ContextKey, NamedContext]:
    return dict(parse_named_context(text, Path.cwd()) for text in flags.build_context)


def _path(text: str) -> Path | None:
    return Path(text).absolute() if text else None


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
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OutputError(
            f"the work directory {path} can't hold the build: {error.strerror}",
            hint="KNARR_DIR names a directory on a disk with room",
        ) from error
    finally:
        for _ in range(2):  # a transfer that was given up may put one more file there
            shutil.rmtree(path, ignore_errors=True)
