"""Checks on FROM: its arguments and its platform."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from knarr.dockerfile.language.expand import Expanded, LexerRules, expand
from knarr.dockerfile.language.parser import Dockerfile, Stage
from knarr.dockerfile.lint.text import Hit, quoted
from knarr.dockerfile.syntax.suggest import nearest
from knarr.errors import DockerfileError, UsageError
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference

_TARGET_PLATFORM = "TARGETPLATFORM"


@dataclass(frozen=True, slots=True)
class FromArgs:
    """What FROM sees: `given` with the build arguments, `defaults` without, None where that can't be said."""

    given: Mapping[str, str]
    defaults: Mapping[str, str] | None


def undefined_arg(dockerfile: Dockerfile, args: FromArgs) -> Iterator[Hit]:
    """A variable that no ARG before the first FROM declares."""
    declared = {item.key for arg in dockerfile.global_args for item in arg.declarations}
    known = sorted(declared | args.given.keys())
    for stage in dockerfile.stages:
        for text in (stage.from_.image, stage.from_.platform or ""):
            expanded = _expand(text, args.given, dockerfile)
            for name in sorted(expanded.missing - set(known)) if expanded else ():
                near = nearest(name, known)
                hint = f" (did you mean {near}?)" if near else ""
                yield Hit(stage.from_, f"FROM argument '{name}' is not declared{hint}")


def invalid_default(dockerfile: Dockerfile, args: FromArgs) -> Iterator[Hit]:
    """An image name that is empty or no name when no build argument is given."""
    if args.defaults is None:
        return
    for stage in dockerfile.stages:
        expanded = _expand(stage.from_.image, args.defaults, dockerfile)
        if expanded is None:
            return
        try:
            Reference.parse(expanded.text)
        except UsageError:
            detail = f"Default value for ARG {stage.from_.image} results in empty or invalid base image name"
            yield Hit(stage.from_, detail)


def redundant_platform(dockerfile: Dockerfile, args: FromArgs) -> Iterator[Hit]:
    """`--platform=$TARGETPLATFORM`, which is the default."""
    for stage, written, expanded in _platforms(dockerfile, args):
        target = args.given.get(_TARGET_PLATFORM)
        if expanded.used == {_TARGET_PLATFORM} and not expanded.missing and expanded.text == target:
            detail = f"Setting platform to predefined {written} in FROM is redundant as this is the default"
            yield Hit(stage.from_, f"{detail} behavior")


def constant_platform(dockerfile: Dockerfile, args: FromArgs) -> Iterator[Hit]:
    """`--platform=linux/amd64`, unless the stage's name says which platform it is for."""
    for stage, _, expanded in _platforms(dockerfile, args):
        if expanded.used or expanded.missing:
            continue
        try:
            platform = Platform.parse(expanded.text)
        except UsageError:
            continue
        name = stage.name or ""
        if platform.os not in name and platform.architecture not in name:
            detail = f"FROM --platform flag should not use constant value {quoted(expanded.text)}"
            yield Hit(stage.from_, detail)


def _platforms(dockerfile: Dockerfile, args: FromArgs) -> Iterator[tuple[Stage, str, Expanded]]:
    for stage in dockerfile.stages:
        written = stage.from_.platform
        expanded = _expand(written, args.given, dockerfile) if written else None
        if written and expanded:
            yield stage, written, expanded


def _expand(text: str, env: Mapping[str, str], dockerfile: Dockerfile) -> Expanded | None:
    """None for what can't be expanded: the build says so itself."""
    try:
        return expand(text, env, LexerRules(escape=dockerfile.directives.escape))
    except DockerfileError:
        return None
