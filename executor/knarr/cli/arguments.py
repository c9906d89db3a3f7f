"""Values of flags that several commands have."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from knarr.build.epoch import EPOCH_ARGUMENT
from knarr.errors import UsageError

_DEFAULT_CONTEXT = "/workspace/"


def parse_context(positional: str, flag: str) -> Path:
    """The build context's absolute path, kaniko's default where none is given; UsageError for a URL."""
    if positional and flag:
        raise UsageError(f"two build contexts: {positional} and --context {flag}")
    text = positional or flag or _DEFAULT_CONTEXT
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "dir":
        raise UsageError(
            f"the build context {text} is not a directory",
            hint=f"this version of knarr fetches no {scheme}:// contexts: fetch it in a step before",
        )
    return Path(rest if separator else text).absolute()


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
