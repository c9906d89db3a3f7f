"""Variables replaced in an instruction, in the parts that BuildKit expands.

ARG is not here: its defaults are expanded one by one as they are declared (`scope`). Neither is RUN, whose
text belongs to the shell and whose mounts are expanded by `mount`. FROM is expanded by `stages` with global
arguments.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from knarr.dockerfile.language.expand import expand_heredoc_body, expand_word, expand_words
from knarr.dockerfile.language.instructions import (
    Add,
    Copy,
    Env,
    Expose,
    InlineFile,
    Instruction,
    KeyValue,
    Label,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from knarr.errors import DockerfileError

_AnyInstruction = TypeVar("_AnyInstruction", bound=Instruction)
_Transfer = TypeVar("_Transfer", bound=Add | Copy)
_Word = Callable[[str], str]


def substitute(instruction: _AnyInstruction, env: Mapping[str, str], *, escape: str) -> _AnyInstruction:
    """The instruction with `$name` replaced; raises DockerfileError at the instruction's place."""

    def word(text: str) -> str:
        return expand_word(text, env, escape=escape)

    try:
        return _substitute(instruction, word, env, escape)
    except DockerfileError as error:
        raise DockerfileError(error.message, location=instruction.location, hint=error.hint) from None


def _substitute(
    instruction: _AnyInstruction, word: _Word, env: Mapping[str, str], escape: str
) -> _AnyInstruction:
    match instruction:
        case Env() | Label():
            return replace(instruction, pairs=tuple(_pair(pair, word) for pair in instruction.pairs))
        case Add():
            return replace(_files(instruction, word, env), checksum=_optional(instruction.checksum, word))
        case Copy():
            return _files(instruction, word, env)
        case Expose():
            ports = (port for text in instruction.ports for port in expand_words(text, env, escape=escape))
            return replace(instruction, ports=tuple(ports))
        case Stopsignal():
            return replace(instruction, signal=word(instruction.signal))
        case User():
            return replace(instruction, user=word(instruction.user))
        case Volume():
            return replace(instruction, paths=tuple(word(path) for path in instruction.paths))
        case Workdir():
            return replace(instruction, path=word(instruction.path))
        case _:
            return instruction


def _files(instruction: _Transfer, word: _Word, env: Mapping[str, str]) -> _Transfer:
    return replace(
        instruction,
        sources=tuple(word(source) for source in instruction.sources),
        files=tuple(_file(file, env) for file in instruction.files),
        destination=word(instruction.destination),
        chown=_optional(instruction.chown, word),
        chmod=_optional(instruction.chmod, word),
    )


def _pair(pair: KeyValue, word: _Word) -> KeyValue:
    return replace(pair, key=word(pair.key), value=word(pair.value))


def _file(file: InlineFile, env: Mapping[str, str]) -> InlineFile:
    return replace(file, body=expand_heredoc_body(file.body, env)) if file.expand else file


def _optional(text: str | None, word: _Word) -> str | None:
    """A flag's value; None where nothing is left of it, as if the flag were not there."""
    return None if text is None else word(text) or None
