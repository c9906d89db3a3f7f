"""Checks on the instructions of one stage."""

import re
from collections.abc import Callable, Iterable, Iterator

from knarr.dockerfile.language.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Shell,
    Workdir,
)
from knarr.dockerfile.lint.text import Hit, keyword, quoted
from knarr.dockerfile.lint.walk import StageView

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NOT_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


def json_args(view: StageView) -> Iterator[Hit]:
    """CMD or ENTRYPOINT in shell form, unless a SHELL was chosen."""
    has_shell = view.has_shell
    for instruction in _instructions(view):
        has_shell = has_shell or isinstance(instruction, Shell)
        if has_shell or not isinstance(instruction, Cmd | Entrypoint):
            continue
        if isinstance(instruction.command, str):
            detail = f"JSON arguments recommended for {keyword(instruction)} to prevent unintended behavior"
            yield Hit(instruction, f"{detail} related to OS signals")


def multiple_instructions(view: StageView) -> Iterator[Hit]:
    """An instruction that a later one of its kind undoes: the earlier is shown."""
    before: dict[type[Instruction], Instruction] = {}
    for instruction in _instructions(view):
        if not isinstance(instruction, Cmd | Entrypoint | Healthcheck):
            continue
        earlier = before.get(type(instruction))
        if earlier is not None:
            detail = (
                f"Multiple {keyword(instruction)} instructions should not be used in the same stage because"
            )
            yield Hit(earlier, f"{detail} only the last one will be used")
        before[type(instruction)] = instruction


def relative_workdir(view: StageView) -> Iterator[Hit]:
    """The first WORKDIR of the file in effect, where it is relative: the rest follows from it."""
    first = next((item for item in _instructions(view) if isinstance(item, Workdir)), None)
    if first is not None and not view.has_workdir and not first.path.startswith("/"):
        detail = (
            f"Relative workdir {quoted(first.path)} can have unexpected results if the base image changes"
        )
        yield Hit(first, detail)


def legacy_key_value(view: StageView) -> Iterator[Hit]:
    """`ENV key value`."""
    for instruction in _instructions(view):
        if isinstance(instruction, Env | Label):
            word = keyword(instruction)
            for pair in instruction.pairs:
                if pair.legacy:
                    detail = f'"{word} key=value" should be used instead of legacy "{word} key value" format'
                    yield Hit(instruction, detail)


def secrets(view: StageView) -> Iterator[Hit]:
    """A name of ARG or ENV that sounds like a secret's."""
    for instruction in _instructions(view):
        for name in _defined_names(instruction):
            if _SECRET.search(name) and not _NOT_SECRET.search(name):
                shown = f"({instruction.KEYWORD} {quoted(name)})"
                yield Hit(instruction, f"Do not use ARG or ENV instructions for sensitive data {shown}")


def expose_protocol_casing(view: StageView) -> Iterator[Hit]:
    """`EXPOSE 80/TCP`."""

    def is_wrong(port: str) -> bool:
        protocol = port.partition("/")[2]
        return protocol != protocol.lower()

    detail = "Defined protocol '{}' in EXPOSE instruction should be lowercase"
    return _ports(view, is_wrong, detail)


def expose_format(view: StageView) -> Iterator[Hit]:
    """`EXPOSE 127.0.0.1:80:80`, `EXPOSE 80:80`."""
    detail = "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'"
    return _ports(view, lambda port: ":" in port, detail)


def base_image_platform(view: StageView) -> Iterator[Hit]:
    """A base image for another platform than asked for; only where the image was looked at."""
    base = view.base
    if base is None:
        return
    expected = view.platform
    if (base.platform.os, base.platform.architecture) != (expected.os, expected.architecture):
        detail = (
            f"Base image {view.base_name} was pulled with platform {quoted(str(base.platform))}, "
            f"expected {quoted(str(expected))} for current build"
        )
        yield Hit(view.planned.stage.from_, detail)


def _ports(view: StageView, is_wrong: Callable[[str], bool], detail: str) -> Iterator[Hit]:
    for instruction in _instructions(view):
        if isinstance(instruction, Expose):
            for port in instruction.ports:
                if is_wrong(port):
                    yield Hit(instruction, detail.format(port))


def _instructions(view: StageView) -> Iterable[Instruction]:
    return (step.instruction for step in view.steps)


def _defined_names(instruction: Instruction) -> Iterable[str]:
    if isinstance(instruction, Arg):
        return (declaration.key for declaration in instruction.declarations)
    return (pair.key for pair in instruction.pairs) if isinstance(instruction, Env) else ()
