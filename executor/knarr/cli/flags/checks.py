"""Flags of `knarr check`."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import argument, value


@dataclass(frozen=True, slots=True)
class CheckFlags:
    """What is checked, how the result is written."""

    context_path: Annotated[str, argument("[CONTEXT]", "Build context: a directory.")] = ""
    context: Annotated[str, value("context", "Build context: a directory.", short="c")] = ""
    dockerfile: Annotated[
        str,
        value(
            "dockerfile",
            "Dockerfile: as given, else within the context; default Dockerfile of the context.",
            short="f",
        ),
    ] = ""
    build_arg: Annotated[
        tuple[str, ...],
        value("build-arg", "NAME=VALUE, or NAME for the value in the environment; repeatable."),
    ] = ()
    target: Annotated[str, value("target", "Check what this stage needs, not every stage.")] = ""
    format: Annotated[str, value("format", "text or json.")] = "text"
