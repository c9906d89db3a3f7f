"""Checks on the text as it is written: letter case, names, comments.

Each takes the Dockerfile and yields what it finds; which rule that breaks is said by the table in `checks`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from knarr.dockerfile.language.instructions import Arg, From, Instruction, Maintainer
from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.syntax.text import split_blanks
from knarr.dockerfile.syntax.words import split_instruction

_RESERVED = frozenset({"scratch", "context"})


@dataclass(frozen=True, slots=True)
class Hit:
    """What a check found at an instruction; `line` where it is not the instruction's own lines."""

    instruction: Instruction
    detail: str
    line: int | None = None


def keyword(instruction: Instruction) -> str:
    """The instruction's keyword in the case it is written in."""
    return split_instruction(instruction.original).keyword


def quoted(text: str) -> str:
    """The text in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def empty_continuation(dockerfile: Dockerfile) -> Iterator[Hit]:
    """What the parser noticed."""
    for warning in dockerfile.warnings:
        for instruction in _instructions(dockerfile):
            if instruction.location.line <= warning.line <= instruction.end_line:
                yield Hit(instruction, warning.message, warning.line)


def stage_name_casing(dockerfile: Dockerfile) -> Iterator[Hit]:
    """`FROM image AS Name`."""
    for stage in dockerfile.stages:
        name = _from_words(stage.from_)[2:]
        if name and name[0] != name[0].lower():
            yield Hit(stage.from_, f"Stage name '{name[0]}' should be lowercase")


def from_as_casing(dockerfile: Dockerfile) -> Iterator[Hit]:
    """`FROM ... as` or `from ... AS`; a FROM in mixed case is another rule's."""
    for stage in dockerfile.stages:
        from_, as_ = keyword(stage.from_), _from_words(stage.from_)[1:2]
        if not as_ or from_ not in (from_.lower(), from_.upper()):
            continue
        wanted = as_[0].lower() if from_ == from_.lower() else as_[0].upper()
        if as_[0] != wanted:
            yield Hit(stage.from_, f"'{as_[0]}' and '{from_}' keywords' casing do not match")


def instruction_casing(dockerfile: Dockerfile) -> Iterator[Hit]:
    """A keyword that differs from most in the stages; a tie is for upper case."""
    placed = [
        (instruction, keyword(instruction))
        for stage in dockerfile.stages
        for instruction in (stage.from_, *stage.instructions)
    ]
    lower = sum(word == word.lower() for _, word in placed)
    upper = sum(word == word.upper() for _, word in placed)
    casing = "lowercase" if lower > upper else "uppercase"
    for instruction, word in placed:
        if word != (word.lower() if lower > upper else word.upper()):
            detail = f"Command '{word}' should match the case of the command majority ({casing})"
            yield Hit(instruction, detail)


def duplicate_stage_name(dockerfile: Dockerfile) -> Iterator[Hit]:
    """A name that an earlier stage has."""
    seen: set[str] = set()
    for stage in dockerfile.stages:
        if stage.name is None:
            continue
        if stage.name in seen:
            detail = f"Duplicate stage name {quoted(stage.name)}, stage names should be unique"
            yield Hit(stage.from_, detail)
        seen.add(stage.name)


def reserved_stage_name(dockerfile: Dockerfile) -> Iterator[Hit]:
    """A name that means something else already."""
    for stage in dockerfile.stages:
        if stage.name in _RESERVED:
            name = quoted(stage.name or "")
            yield Hit(stage.from_, f"Stage name should not use the same name as reserved stage {name}")


def maintainer_deprecated(dockerfile: Dockerfile) -> Iterator[Hit]:
    """MAINTAINER anywhere."""
    for instruction in _instructions(dockerfile):
        if isinstance(instruction, Maintainer):
            yield Hit(instruction, "Maintainer instruction is deprecated in favor of using label")


def definition_description(dockerfile: Dockerfile) -> Iterator[Hit]:
    """A comment right above ARG or a named FROM that does not begin with the name."""
    for instruction in _instructions(dockerfile):
        names = _defined_names(instruction)
        if not names or not instruction.comments:
            continue
        if instruction.comments[-1].partition(" ")[0] not in names:
            shown = names[0] if len(names) == 1 else "<arg_key>"
            detail = f"Comment for {instruction.KEYWORD} should follow the format: `# {shown} <description>`"
            yield Hit(instruction, detail)


def _instructions(dockerfile: Dockerfile) -> Iterator[Instruction]:
    yield from dockerfile.global_args
    for stage in dockerfile.stages:
        yield stage.from_
        yield from stage.instructions


def _from_words(from_: From) -> tuple[str, ...]:
    return split_blanks(split_instruction(from_.original).arguments)


def _defined_names(instruction: Instruction) -> tuple[str, ...]:
    if isinstance(instruction, Arg):
        return tuple(declaration.key for declaration in instruction.declarations)
    if isinstance(instruction, From) and instruction.name is not None:
        return (instruction.name,)
    return ()
