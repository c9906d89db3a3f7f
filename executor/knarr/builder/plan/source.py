"""The Dockerfile of a build, with what its text alone decides."""

import re
from dataclasses import dataclass

from knarr.builder.request.request import BuildRequest
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.language.scope import global_scope
from knarr.errors import UsageError

EPOCH_ARGUMENT = "SOURCE_DATE_EPOCH"
_SECONDS = re.compile(r"[0-9]{1,11}")
_START_S = 0
"""1970-01-01T00:00:00Z; kaniko's year 1 is a date that many tools can't show."""


@dataclass(frozen=True, slots=True)
class DockerfileSource:
    """The Dockerfile, the patterns of its ignore file, the time that it or the request fixes."""

    dockerfile: Dockerfile
    ignore: IgnorePatterns
    epoch_s: int | None
    """Seconds since 1970 of config, history and files that are younger; None for the real times."""


def source_date_epoch(request: BuildRequest, dockerfile: Dockerfile) -> int | None:
    """Seconds since 1970 of config, history, files that are younger; None for the real times.

    The build argument decides, then an ARG before the first FROM; an empty one resets what is said elsewhere.
    With `reproducible` the time is never real. Raises UsageError for anything but a number.
    """
    text = request.build_args.get(EPOCH_ARGUMENT)
    if text is None and any(
        declaration.key == EPOCH_ARGUMENT
        for arg in dockerfile.global_args
        for declaration in arg.declarations
    ):
        text = global_args(request, dockerfile, None).get(EPOCH_ARGUMENT)
    if text:
        return parse_epoch(text)
    return _START_S if request.reproducible else None


def parse_epoch(text: str) -> int:
    """A time in whole seconds since 1970; UsageError for anything else."""
    if not _SECONDS.fullmatch(text):
        raise UsageError(
            f"{EPOCH_ARGUMENT} is not a number of seconds: {text[:100]!r}",
            hint="it counts from 1970-01-01, as in $(git log -1 --pretty=%ct); empty for the real time",
        )
    return int(text)


def global_args(request: BuildRequest, dockerfile: Dockerfile, target_stage: str | None) -> dict[str, str]:
    """What FROM sees; `target_stage` is what `target_name` gives."""
    return global_scope(
        dockerfile.global_args,
        build_args=request.build_args,
        build_platform=str(request.build_platform or request.platform),
        target_platform=str(request.platform),
        target_stage=target_stage,
        escape=dockerfile.directives.escape,
    )
