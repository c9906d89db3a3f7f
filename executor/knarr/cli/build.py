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

from knarr.build.builder import build_image
from knarr.build.context import find_dockerfile
from knarr.build.contexts import ContextKey, NamedContext, parse_named_context
from knarr.build.request import BuildRequest, Outputs
from knarr.cli.arguments import parse_build_args, parse_context
from knarr.cli.command import Command
from knarr.cli.environment import find_git, this_platform, work_directory_parent
from knarr.cli.flags.context import ContextFlags
from knarr.cli.flags.isolation import IsolationFlags
from knarr.cli.flags.logging import LogFlags
from knarr.cli.flags.mounts import MountFlags
from knarr.cli.flags.outputs import OutputFlags
from knarr.cli.flags.refused import REFUSED
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.grammar import parse_pair
from knarr.cli.registries import open_client
from knarr.cli.report import PlainReporter, parse_verbosity
from knarr.cli.secrets import read_credentials
from knarr.errors import OutputError, UsageError
from knarr.oci.reference import Reference

GROUPS = (ContextFlags, OutputFlags, RegistryFlags, IsolationFlags, MountFlags, LogFlags)

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def run_build(arguments: Sequence[str]) -> int:
    """Run `knarr build` with its arguments; the result is the exit status."""
    return Command("build", GROUPS, _build, refused=REFUSED).run(arguments)


def _build(
    source: ContextFlags,
    results: OutputFlags,
    registries: RegistryFlags,
    isolation: IsolationFlags,
    mounts: MountFlags,
    log: LogFlags,
) -> int:
    """Build an image from a Dockerfile, then push it or write it to files."""
    reporter = PlainReporter(sys.stderr, verbosity=parse_verbosity(log.verbosity))
    environment = dict(os.environ)
    outputs = _outputs(results)
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
            platform=this_platform(),
            build_args=parse_build_args(source.build_arg, environment),
            labels=tuple(parse_pair(text, "--label") for text in source.label),
            target=source.target or None,
            isolation=isolation.isolation,
            contexts=_named_contexts(mounts),
            credentials=read_credentials(mounts.secret, mounts.ssh, environment),
            mount_cache_dir=_path(mounts.mount_cache_dir),
            git=find_git(environment),
        )
        digest = build_image(request, client, reporter)
    print(digest)
    return 0


def _outputs(flags: OutputFlags) -> Outputs:
    outputs = Outputs(
        destinations=tuple(_destination(text) for text in flags.destination),
        push=not flags.no_push,
        tar_path=_path(flags.tar_path),
        oci_layout_path=_path(flags.oci_layout_path),
        digest_file=_path(flags.digest_file),
    )
    if outputs.push and not outputs.destinations and not outputs.need_all_layers:
        raise UsageError(
            "there is nowhere for the image to go",
            hint="give --destination, --oci-layout-path or --tar-path, or --no-push for a trial",
        )
    return outputs


def _destination(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise UsageError(f"--destination takes a name with a tag, not a digest: {text}")
    return reference.with_default_tag()


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
