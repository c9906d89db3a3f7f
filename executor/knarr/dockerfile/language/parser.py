"""Text of a Dockerfile to its tree: directives, global arguments, stages of instructions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from knarr.dockerfile.language.instructions import Arg, From, Instruction
from knarr.dockerfile.language.parse import commands, files, settings
from knarr.dockerfile.language.parse.line import Request
from knarr.dockerfile.syntax.directives import Directives
from knarr.dockerfile.syntax.lines import LogicalLine, SourceFile, read_lines
from knarr.dockerfile.syntax.suggest import wrong
from knarr.dockerfile.syntax.words import split_instruction
from knarr.errors import DockerfileError, SourceLocation

_PARSERS: Mapping[str, Callable[[Request], Instruction]] = {
    "ADD": files.parse_add,
    "ARG": settings.parse_arg,
    "CMD": commands.parse_cmd,
    "COPY": files.parse_copy,
    "ENTRYPOINT": commands.parse_entrypoint,
    "ENV": settings.parse_env,
    "EXPOSE": settings.parse_expose,
    "FROM": settings.parse_from,
    "HEALTHCHECK": commands.parse_healthcheck,
    "LABEL": settings.parse_label,
    "MAINTAINER": settings.parse_maintainer,
    "ONBUILD": settings.parse_onbuild,
    "RUN": commands.parse_run,
    "SHELL": commands.parse_shell,
    "STOPSIGNAL": settings.parse_stopsignal,
    "USER": settings.parse_user,
    "VOLUME": settings.parse_volume,
    "WORKDIR": settings.parse_workdir,
}

KEYWORDS = frozenset(_PARSERS)


@dataclass(frozen=True, slots=True)
class ParseWarning:
    """Something worth a look that reading alone shows; `rule` is the build check's name."""

    rule: str
    message: str
    line: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM with the instructions under it; `index` counts from 0, `name` is in lower case."""

    index: int
    name: str | None
    from_: From
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole Dockerfile; `global_args` are the ARGs before the first FROM, `text` is the file's."""

    file: str
    text: str
    directives: Directives
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[ParseWarning, ...]


def parse(data: bytes, *, file: str) -> Dockerfile:
    """The tree of a Dockerfile; raises DockerfileError with the place, where there is one."""
    source = read_lines(data, file=file)
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for line in source.lines:
        instruction = _parse_line(line, source.directives.escape)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise DockerfileError(
                "no build stage in current context",
                location=line.location(),
                hint="only ARG may come before the first FROM",
            )
    if not stages:
        raise DockerfileError(f"{file}: dockerfile contains no stages to build", hint="there is no FROM")
    return Dockerfile(
        file=file,
        text=source.text,
        directives=source.directives,
        global_args=tuple(global_args),
        stages=tuple(
            Stage(index, from_.name, from_, tuple(instructions))
            for index, (from_, instructions) in enumerate(stages)
        ),
        warnings=_warnings(source),
    )


def parse_onbuild(trigger: str, *, file: str, location: SourceLocation | None = None) -> Instruction:
    """The instruction of a trigger, from an image config or an ONBUILD.

    `location` is that of the child's FROM, given to the instruction and to errors.
    """
    try:
        source = read_lines(trigger.encode("utf-8", "surrogatepass"), file=file)
        if len(source.lines) != 1:
            raise DockerfileError("onbuild trigger should be a single expression")
        instruction = _parse_line(source.lines[0], source.directives.escape)
        if isinstance(instruction, From):
            raise DockerfileError("FROM isn't allowed as an ONBUILD trigger")
    except DockerfileError as error:
        shown = trigger if len(trigger) <= 200 else trigger[:200] + "..."
        raise DockerfileError(
            f"ONBUILD trigger {shown!r}: {error.message}",
            location=location or error.location,
            hint=error.hint,
        ) from error
    return (
        instruction if location is None else replace(instruction, location=location, end_line=location.line)
    )


def _parse_line(line: LogicalLine, escape: str) -> Instruction:
    request = Request.cut(line, escape)
    try:
        parser = _PARSERS.get(request.keyword)
        if parser is None:
            written = split_instruction(line.text).keyword
            raise wrong(f"unknown instruction: {written[:80]}", request.keyword, KEYWORDS)
        return parser(request)
    except DockerfileError as error:
        raise DockerfileError(
            error.message, location=error.location or line.location(), hint=error.hint
        ) from error


def _warnings(source: SourceFile) -> tuple[ParseWarning, ...]:
    return tuple(
        ParseWarning(
            "NoEmptyContinuation",
            "Empty continuation line",
            line.blank_continuation,
        )
        for line in source.lines
        if line.blank_continuation is not None
    )
