"""Values of flags that several commands have."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from knarr.builder.plan.source import EPOCH_ARGUMENT
from knarr.builder.sources.context_source import ContextSource
from knarr.errors import UsageError

_DEFAULT_CONTEXT = "/workspace/"
_FETCHED = {
    "git": "the repository",
    "http": "the archive",
    "https": "the archive",
    "s3": "the bucket's archive",
    "gs": "the bucket's archive",
}


def parse_context(positional: str, flag: str) -> Path:
    """The absolute path of a build context that is a directory, kaniko's default where none is given.

    Raises UsageError for anything else.
    """
    source = parse_context_source(positional, flag, "")
    if source.is_archive or source.path is None:
        raise UsageError(f"{positional or flag}: a directory is needed here")
    return source.path


def parse_context_source(positional: str, flag: str, sub_path: str) -> ContextSource:
    """Where the build context comes from: a directory, `dir://`, `tar://FILE`, `tar://stdin`.

    Raises UsageError for what would have to be fetched.
    """
    if positional and flag:
        raise UsageError(f"two build contexts: {positional} and --context {flag}")
    text = positional or flag or _DEFAULT_CONTEXT
    scheme, separator, rest = text.partition("://")
    if not separator:
        return ContextSource(Path(text).absolute(), sub_path=sub_path)
    if scheme == "dir":
        return ContextSource(Path(rest).absolute(), sub_path=sub_path)
    if scheme == "tar":
        path = None if rest == "stdin" else Path(rest).absolute()
        return ContextSource(path, is_archive=True, sub_path=sub_path)
    fetched = _FETCHED.get(scheme)
    if fetched is None:
        raise UsageError(
            f"unknown kind of build context: {text}", hint="a directory, dir://, tar://FILE or tar://stdin"
        )
    raise UsageError(
        f"the executor fetches no build contexts: {text}",
        hint=f"fetch {fetched} in a step before the build; the task library has one (knarr-context)",
    )


def parse_targets(values: Sequence[str]) -> tuple[str, ...]:
    """Stages to build, repeated or between commas as kaniko takes them."""
    return tuple(name for text in values for name in text.split(",") if name)


def parse_build_args(values: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """`NAME=VALUE` as it is, `NAME` with its value in the environment, dropped where that has none."""
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


def with_epoch(build_args: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The build arguments with SOURCE_DATE_EPOCH of the environment where they have none, as buildx does."""
    inherited = {name: environment[name] for name in (EPOCH_ARGUMENT,) if name in environment}
    return {**inherited, **build_args}
