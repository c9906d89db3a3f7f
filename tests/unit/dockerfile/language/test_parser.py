"""Trees, errors and arbitrary bytes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.dockerfile.language.instructions import Instruction, Onbuild, Run
from knarr.dockerfile.language.parser import KEYWORDS, Dockerfile, parse, parse_onbuild
from knarr.errors import DockerfileError, SourceLocation
from support.places import TESTS

DATA = TESTS / "data" / "dockerfile"
TREES = sorted(path.name for path in (DATA / "trees").iterdir())
ERRORS: list[tuple[str, int | None, str, str | None]] = json.loads((DATA / "errors.json").read_text())

# Dockerfiles that the independent reader reads differently, with the reason.
OTHER_READER_DIFFERS = {
    "heredocs": "it has no heredocs",
    "crlf_bom": "it has no heredocs, byte order marks or escape directives",
    "onbuild": "it has no heredocs",
    "backtick": "it has no escape directive",
    "lines": "it ends a continuation at a blank line, and takes a lone escape for a name",
    "forms": "it has no instruction without arguments",
}


def plain(value: Any) -> Any:
    """A value as JSON: fields at their defaults left out, so that a tree shows what the text said."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    return {
        field.name: plain(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if field.name not in ("location", "end_line", "original")
        and getattr(value, field.name) != field.default
    }


def plain_instruction(instruction: Instruction) -> dict[str, Any]:
    lines = [instruction.location.line, instruction.end_line]
    return {instruction.KEYWORD: plain(instruction), "lines": lines}


def plain_tree(dockerfile: Dockerfile) -> dict[str, Any]:
    return {
        "directives": plain(dockerfile.directives),
        "global_args": [plain_instruction(arg) for arg in dockerfile.global_args],
        "stages": [
            [plain_instruction(instruction) for instruction in (stage.from_, *stage.instructions)]
            for stage in dockerfile.stages
        ],
        "warnings": [f"{warning.rule}:{warning.line}" for warning in dockerfile.warnings],
    }


def dump(tree: dict[str, Any]) -> str:
    """JSON with one instruction a line."""

    def row(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    args = ",\n  ".join(row(arg) for arg in tree["global_args"])
    stages = "],\n [".join(",\n  ".join(row(item) for item in stage) for stage in tree["stages"])
    return (
        f'{{"directives": {row(tree["directives"])},\n"global_args": [{args}],\n"stages": [\n [{stages}]],\n'
        f'"warnings": {row(tree["warnings"])}}}\n'
    )


@pytest.mark.parametrize("name", TREES)
def test_tree(name: str) -> None:
    case = DATA / "trees" / name
    tree = plain_tree(parse((case / "Dockerfile").read_bytes(), file="Dockerfile"))
    assert dump(tree) == (case / "tree.json").read_text()


@pytest.mark.parametrize(("text", "line", "message", "hint"), ERRORS, ids=[row[0] for row in ERRORS])
def test_error(text: str, line: int | None, message: str, hint: str | None) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text.encode(), file="Dockerfile")
    assert message in caught.value.message
    assert (caught.value.location.line if caught.value.location else None) == line
    if hint is not None:
        assert hint in str(caught.value.hint)


def test_error_shows_the_source_line() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(b"FROM a\n  RUNN x\n", file="app/Dockerfile")
    assert str(caught.value) == (
        "unknown instruction: RUNN\n  app/Dockerfile:2\n  |   RUNN x\n  |   ^\nhint: did you mean RUN?"
    )


@pytest.mark.parametrize("name", [name for name in TREES if name not in OTHER_READER_DIFFERS])
def test_other_reader_agrees(name: str, tmp_path: Path) -> None:
    data = (DATA / "trees" / name / "Dockerfile").read_bytes()
    (tmp_path / "Dockerfile").write_bytes(data)
    theirs = [
        (entry["instruction"], entry["startline"] + 1)
        for entry in DockerfileParser(str(tmp_path)).structure
        if entry["instruction"] != "COMMENT"
    ]
    tree = parse(data, file="Dockerfile")
    ours = [*tree.global_args]
    instructions: list[Instruction] = [*ours]
    for stage in tree.stages:
        instructions += [stage.from_, *stage.instructions]
    assert [(item.KEYWORD, item.location.line) for item in instructions] == theirs


def test_other_reader_exceptions_exist() -> None:
    assert OTHER_READER_DIFFERS.keys() <= set(TREES)


WORDS = [keyword.encode() for keyword in KEYWORDS] + [
    *(b"# escape=`", b"#", b"\n", b"\\\n", b"`\n", b" ", b"\t", b"<<EOF", b"EOF", b"<<-'E'", b"\nE\n"),
    *(b'["a", "b"]', b"[", b"--from=", b"--mount=type=", b"=", b"$", b"${", b"}", b"'", b'"', b"a", b"\x00"),
    *(b"\xff", b"\xef\xbb\xbf", b"\r\n", "\u2028\xa0".encode(), b"FROM a\n"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=30))
def test_any_bytes_parse_or_explain(parts: list[bytes]) -> None:
    for data in (b"".join(parts), b"FROM a\n" + b" ".join(parts)):
        try:
            assert parse(data, file="Dockerfile").stages
        except DockerfileError as error:
            str(error).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"FROM a\nCMD " + b"[" * 60000,
        b"FROM a\nRUN " + b"<<" * 20000,
        b"FROM a\nRUN cat " + b"${a:-" * 12000 + b" <<X",
        b"FROM a\nCOPY " + b"'" * 60001,
        b"FROM a\n" + b"RUN a \\\n" * 20000,
        b"FROM a\nCMD [" + b"1" * 60000 + b"]",
    ],
    ids=["nested arrays", "heredoc signs", "nested substitutions", "quotes", "continuations", "digits"],
)
def test_hostile_text_ends(data: bytes) -> None:
    try:
        parse(data, file="Dockerfile")
    except DockerfileError:
        pass


def test_not_utf8_is_an_error_in_instructions_alone() -> None:
    parse(b"# Jos\xe9\nFROM a\n", file="Dockerfile")
    with pytest.raises(DockerfileError, match="byte 0xe9 is not UTF-8") as caught:
        parse(b"FROM a\nRUN x \\\n echo \xe9\n", file="Dockerfile")
    assert caught.value.location == SourceLocation("Dockerfile", 3, " echo \ufffd", 6)


@pytest.mark.parametrize("length", [65535, 65536])
def test_line_length_limit(length: int) -> None:
    line = b"# " + "é".encode() * ((length - 3) // 2) + b"x" * (1 + (length - 3) % 2)
    assert len(line) == length
    data = b"FROM a\n" + line + b"\nRUN x\n"
    if length == 65535:
        assert len(parse(data, file="Dockerfile").stages[0].instructions) == 1
    else:
        with pytest.raises(DockerfileError, match="65535"):
            parse(data, file="Dockerfile")


def test_onbuild_trigger_reads_back() -> None:
    tree = parse((DATA / "trees" / "onbuild" / "Dockerfile").read_bytes(), file="Dockerfile")
    onbuilds = [item for item in tree.stages[0].instructions if isinstance(item, Onbuild)]
    place = SourceLocation("child", 7, "FROM parent", 0)
    run = parse_onbuild(onbuilds[0].trigger, file="child", location=place)
    assert isinstance(run, Run)
    assert run.command == "echo   x"
    assert run.location == place
    assert plain(parse_onbuild(onbuilds[1].trigger, file="child"))["files"] == [
        {"name": "EOF", "body": "body\n", "expand": True}
    ]
    with pytest.raises(DockerfileError, match="unknown instruction: onbuilt") as caught:
        parse_onbuild(onbuilds[4].trigger, file="child", location=place)
    assert caught.value.location == place


@pytest.mark.parametrize("trigger", ["", "FROM a", "RUN a\nRUN b", "RUN <<E\n", "RUN \ud800"])
def test_bad_onbuild_trigger(trigger: str) -> None:
    with pytest.raises(DockerfileError, match="ONBUILD trigger"):
        parse_onbuild(trigger, file="Dockerfile")
