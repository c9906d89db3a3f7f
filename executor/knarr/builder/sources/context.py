"""The build context: finds the Dockerfile with its ignore file, opens the directory."""

import os
import stat
from pathlib import Path

from knarr.builder.plan.source import DockerfileSource, source_date_epoch
from knarr.builder.request.request import BuildRequest
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.parser import parse
from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.dockerfile.syntax.frontend import frontend_warning
from knarr.errors import ContextError, UsageError
from knarr.progress import Note, Reporter, SourceRead
from knarr.registry.client import Client
from knarr.registry.transfer.download import download

_MAX_DOCKERFILE_BYTES = 16 * 1024 * 1024
_MAX_IGNORE_BYTES = 4 * 1024 * 1024
_DEFAULT_NAMES = ("Dockerfile", "dockerfile")


def find_dockerfile(text: str, context: Path, working_directory: Path) -> Path:
    """The absolute path of the Dockerfile.

    An empty text means `Dockerfile` (else `dockerfile`) of the context. Anything else is tried as given, from
    the working directory, then within the context. Raises UsageError for a URL, ContextError for nothing.
    """
    if "://" in text:
        raise UsageError(
            f"--dockerfile {text}: no such kind of place",
            hint="a path; knarr build takes http:// and https:// too",
        )
    if text:
        tried = [working_directory / text, context / text]
    else:
        tried = [context / name for name in _DEFAULT_NAMES]
    for path in tried:
        if path.is_file():
            return path.absolute()
    if not context.is_dir():
        raise ContextError(
            f"the build context {context} is not a directory", hint="name it: knarr build DIRECTORY"
        )
    listed = " nor ".join(str(path) for path in dict.fromkeys(tried[: 2 if text else 1]))
    raise ContextError(
        f"no Dockerfile: {listed} is not a file",
        hint="--dockerfile names it: a wrapper's input file, Tekton's parameter DOCKERFILE",
    )


def fetch_dockerfile(url: str, directory: Path, client: Client) -> Path:
    """Download a Dockerfile into a new directory. Raises ContextError, also for more than 16 MiB."""
    directory.mkdir()
    path = directory / "Dockerfile"
    with client.for_downloads() as downloads:
        download(downloads, url, path, limit_bytes=_MAX_DOCKERFILE_BYTES)
    return path


def read_source(request: BuildRequest, reporter: Reporter) -> DockerfileSource:
    """The Dockerfile, its text reported, with its ignore file.

    Raises ContextError, DockerfileError, UsageError.
    """
    data = read_dockerfile(request.dockerfile)
    text = without_credentials(data.decode("utf-8", "replace"))
    reporter.report(SourceRead(str(request.dockerfile), text))
    warning = frontend_warning(text, request.build_args)
    if warning is not None:
        reporter.report(Note(warning, "warning"))
    dockerfile = parse(data, file=request.dockerfile.name)
    epoch_s = source_date_epoch(request, dockerfile)
    return DockerfileSource(dockerfile, read_ignore_patterns(request.dockerfile, request.context), epoch_s)


def read_dockerfile(path: Path) -> bytes:
    """The Dockerfile's bytes; ContextError where it can't be read or is larger than 16 MiB."""
    return _read_regular(path, _MAX_DOCKERFILE_BYTES)


def read_ignore_patterns(dockerfile: Path, context: Path) -> IgnorePatterns:
    """The patterns of `<Dockerfile>.dockerignore`, else of the context's `.dockerignore`, else none."""
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    return _read_ignore(own) if own.exists() else read_context_ignore(context)


def read_context_ignore(context: Path) -> IgnorePatterns:
    """The patterns of a context's `.dockerignore`, else none."""
    path = context / ".dockerignore"
    return _read_ignore(path) if path.exists() else IgnorePatterns()


def _read_ignore(path: Path) -> IgnorePatterns:
    text = _read_regular(path, _MAX_IGNORE_BYTES).decode(errors="surrogateescape")
    return IgnorePatterns.parse(text, file=str(path))


def _read_regular(path: Path, limit_bytes: int) -> bytes:
    """Bytes of a regular file; a pipe or device that takes its place never blocks us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ContextError(f"{path} is not a regular file")
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise ContextError(f"can't read {path}: {error.strerror}") from error
    if len(data) > limit_bytes:
        raise ContextError(f"{path} is larger than {limit_bytes} bytes")
    return data
