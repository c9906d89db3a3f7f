"""Parsers of the instructions that neither run nor copy: stages, environment, image config."""

import re
from collections.abc import Mapping

from knarr.dockerfile.language.instructions import (
    Arg,
    ArgDeclaration,
    Env,
    Expose,
    From,
    KeyValue,
    Label,
    Maintainer,
    Onbuild,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from knarr.dockerfile.language.parse.line import Request
from knarr.dockerfile.syntax.flags import FlagKind
from knarr.dockerfile.syntax.text import BLANKS, SEPARATOR
from knarr.dockerfile.syntax.words import split_instruction
from knarr.errors import DockerfileError

_FROM_FLAGS: Mapping[str, FlagKind] = {"platform": FlagKind.TEXT}
_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_ONBUILD_KEYWORD = re.compile(f"[{BLANKS}]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_NO_TRIGGERS = frozenset({"FROM", "MAINTAINER"})


def parse_from(request: Request) -> From:
    """Raises DockerfileError without a location."""
    flags = request.flags(_FROM_FLAGS)
    words = request.words()
    name: str | None = None
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise DockerfileError(
                f"invalid name for build stage: {words[2]!r}, "
                "name can't start with a number or contain symbols"
            )
    elif len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments", hint="FROM image AS name")
    return From(**request.common, image=words[0], platform=flags.text("platform") or None, name=name)


def parse_onbuild(request: Request) -> Onbuild:
    """Raises DockerfileError without a location."""
    request.flags()
    request.need_arguments()
    keyword = split_instruction(request.arguments).keyword.upper()
    if keyword == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in _NO_TRIGGERS:
        raise DockerfileError(f"{keyword} isn't allowed as an ONBUILD trigger")
    trigger = _ONBUILD_KEYWORD.sub("", request.line.text, count=1)
    bodies = "".join(f"\n{heredoc.body}{heredoc.name}" for heredoc in request.heredocs)
    return Onbuild(**request.common, trigger=trigger + bodies)


def parse_env(request: Request) -> Env:
    """Raises DockerfileError without a location."""
    request.flags()
    return Env(**request.common, pairs=_pairs(request))


def parse_label(request: Request) -> Label:
    """Raises DockerfileError without a location."""
    request.flags()
    return Label(**request.common, pairs=_pairs(request))


def parse_arg(request: Request) -> Arg:
    """Raises DockerfileError without a location."""
    request.flags()
    request.need_arguments()
    return Arg(**request.common, declarations=tuple(_declaration(word) for word in request.quoted_words()))


def parse_expose(request: Request) -> Expose:
    """Raises DockerfileError without a location."""
    request.flags()
    request.need_arguments()
    return Expose(**request.common, ports=tuple(sorted(request.words())))


def parse_volume(request: Request) -> Volume:
    """Raises DockerfileError without a location."""
    request.flags()
    paths = tuple(path.strip(BLANKS) for path in request.paths())
    if not paths:
        raise DockerfileError("VOLUME requires at least one argument")
    if "" in paths:
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(**request.common, paths=paths)


def parse_user(request: Request) -> User:
    """Raises DockerfileError without a location."""
    request.flags()
    return User(**request.common, user=request.one_argument())


def parse_workdir(request: Request) -> Workdir:
    """Raises DockerfileError without a location."""
    request.flags()
    return Workdir(**request.common, path=request.one_argument())


def parse_stopsignal(request: Request) -> Stopsignal:
    """Raises DockerfileError without a location."""
    request.flags()
    return Stopsignal(**request.common, signal=request.one_argument())


def parse_maintainer(request: Request) -> Maintainer:
    """Raises DockerfileError without a location."""
    request.flags()
    return Maintainer(**request.common, author=request.one_argument())


def _declaration(word: str) -> ArgDeclaration:
    key, equals, default = word.partition("=")
    if not key:
        raise DockerfileError("ARG names can not be blank")
    return ArgDeclaration(key, default if equals else None)


def _pairs(request: Request) -> tuple[KeyValue, ...]:
    """`key=value ...`, or the old `key the rest`: the first word decides, by having a `=` or not."""
    words = request.quoted_words()
    if not words:
        raise DockerfileError(f"{request.keyword} requires at least one argument")
    if "=" in words[0]:
        return tuple(_pair(word, request.keyword) for word in words)
    key, *rest = SEPARATOR.split(request.arguments, maxsplit=1)
    if not rest:
        raise DockerfileError(
            f"{request.keyword} must have two arguments", hint=f"{request.keyword} {key}=value"
        )
    return (KeyValue(key, rest[0], legacy=True),)


def _pair(word: str, keyword: str) -> KeyValue:
    key, equals, value = word.partition("=")
    if not equals:
        raise DockerfileError(
            f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value',
            hint="a value with blanks needs quotes",
        )
    if not key:
        raise DockerfileError(f"{keyword} names can not be blank")
    return KeyValue(key, value)
