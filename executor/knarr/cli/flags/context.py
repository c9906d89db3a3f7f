"""Flags that say what is built."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import argument, value


@dataclass(frozen=True, slots=True)
class ContextFlags:
    """Build context, Dockerfile, target, arguments."""

    context_path: Annotated[str, argument("[CONTEXT]", "Build context: a directory.")] = ""
    context: Annotated[
        str, value("context", "Build context: a directory, tar://FILE or tar://stdin.", short="c")
    ] = ""
    context_sub_path: Annotated[
        str, value("context-sub-path", "Directory within the context that is the context.")
    ] = ""
    dockerfile: Annotated[
        str,
        value(
            "dockerfile",
            "Dockerfile: a path as given, else within the context; a URL; default Dockerfile of the context.",
            short="f",
        ),
    ] = ""
    build_arg: Annotated[
        tuple[str, ...],
        value("build-arg", "NAME=VALUE, or NAME for the value in the environment; repeatable."),
    ] = ()
    target: Annotated[
        tuple[str, ...],
        value("target", "Stage to build: a name or a number; of several, the first is the image."),
    ] = ()
    label: Annotated[tuple[str, ...], value("label", "KEY=VALUE; repeatable.")] = ()
