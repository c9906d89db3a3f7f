"""dockerfile-parse, written independently, finds the same instructions on the same lines."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from knarr.dockerfile.language.instructions import Instruction, Onbuild
from knarr.dockerfile.language.parser import Dockerfile, parse
from knarr.errors import DockerfileError
from support.places import TESTS

BUILDS = TESTS / "builds"

# Dockerfiles without heredocs that the other reader reads differently, with the reason.
OTHER_READER_DIFFERS = {
    "cases/run-forms": "it ends a continuation at a blank line",
    "cases/syntax-bom-crlf": "it takes a byte order mark for a name",
    "cases/syntax-odd-lines": "it ends a continuation at a blank line",
    "expected/config-label-forms": "it ends a continuation at a blank line",
    "expected/syntax-directives": "it has no escape directive",
    "expected/syntax-escape-backtick": "it has neither byte order marks nor an escape directive",
    "expected/syntax-lines": "it ends a continuation at a blank line, and drops what the end cuts off",
}


def _dockerfiles() -> Iterator[tuple[str, Path]]:
    for each in sorted(BUILDS.glob("cases/*")) + sorted(BUILDS.glob("expected/*")):
        for path in sorted(each.glob("*")):
            if path.name.lower().endswith("dockerfile"):
                yield f"{each.parent.name}/{each.name}", path


def _tree(path: Path) -> Dockerfile | None:
    """The tree of a Dockerfile that can be read, which is the point of most cases but not of all."""
    try:
        return parse(path.read_bytes(), file=path.name)
    except DockerfileError:
        return None


def _instructions(tree: Dockerfile) -> list[Instruction]:
    instructions: list[Instruction] = [*tree.global_args]
    for stage in tree.stages:
        instructions += [stage.from_, *stage.instructions]
    return instructions


def _has_heredocs(tree: Dockerfile) -> bool:
    return any(
        getattr(each, "heredocs", ())
        or getattr(each, "files", ())
        or (isinstance(each, Onbuild) and "\n" in each.trigger)
        for each in _instructions(tree)
    )


READABLE = {
    name: path
    for name, path in _dockerfiles()
    if (tree := _tree(path)) is not None and not _has_heredocs(tree)
}


@pytest.mark.parametrize("name", [name for name in READABLE if name not in OTHER_READER_DIFFERS])
def test_same_instructions_on_the_same_lines(name: str, tmp_path: Path) -> None:
    data = READABLE[name].read_bytes()
    (tmp_path / "Dockerfile").write_bytes(data)
    theirs = [
        (entry["instruction"], entry["startline"] + 1)
        for entry in DockerfileParser(str(tmp_path)).structure
        if entry["instruction"] != "COMMENT"
    ]
    tree = _tree(READABLE[name])
    assert tree is not None
    assert [(each.KEYWORD, each.location.line) for each in _instructions(tree)] == theirs


def test_most_cases_are_compared() -> None:
    assert len(READABLE) - len(OTHER_READER_DIFFERS) > 150


def test_exceptions_exist() -> None:
    assert OTHER_READER_DIFFERS.keys() <= READABLE.keys()
