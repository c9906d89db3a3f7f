"""created_by texts, and what a RUN executes."""

import json

import pytest

from knarr.dockerfile.language.history import (
    arg_created_by,
    command_created_by,
    created_by,
    expose_created_by,
    quote,
    run_created_by,
    workdir_created_by,
)
from knarr.dockerfile.language.instructions import Run
from knarr.dockerfile.language.parser import parse
from knarr.dockerfile.language.run_script import RunScript, ScriptFile, run_script
from support.places import DATA

ROWS: list[tuple[str, str]] = json.loads((DATA / "dockerfile" / "history.json").read_text())
SHELL = ("/bin/sh", "-c")


@pytest.mark.parametrize(("text", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_created_by(text: str, expected: str) -> None:
    (instruction,) = parse(f"FROM a\n{text}\n".encode(), file="Dockerfile").stages[0].instructions
    assert created_by(instruction) == expected


def test_created_by_of_what_depends_on_more() -> None:
    assert run_created_by((*SHELL, "x"), [("A", "1"), ("B", "")]) == "RUN |2 A=1 B= /bin/sh -c x # buildkit"
    assert run_created_by(["x", "y"], []) == "RUN x y # buildkit"
    assert arg_created_by([("A", "1"), ("B", None), ("C", "")]) == "ARG A=1 B C="
    assert workdir_created_by("/x") == "WORKDIR /x"
    assert command_created_by("CMD", (*SHELL, 'a "b"')) == 'CMD ["/bin/sh" "-c" "a \\"b\\""]'
    assert command_created_by("ENTRYPOINT", ()) == "ENTRYPOINT []"
    assert expose_created_by(["80/tcp", "90/udp"]) == "EXPOSE [80/tcp 90/udp]"


def test_quote() -> None:
    assert quote("a\n\t\x01\x7f\\é\u200b\U000e0001") == '"a\\n\\t\\x01\\x7f\\\\é\\u200b\\U000e0001"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN x  y", RunScript((*SHELL, "x  y"))),
        ('RUN ["x", "y"]', RunScript(("x", "y"))),
        ("RUN <<E\nx\ny\nE", RunScript((*SHELL, "x\ny\n"))),
        ("RUN <<-E\n\tx\n\tE", RunScript((*SHELL, "x\n"))),
        (
            "RUN <<E\n#!/bin/x\ny\nE",
            RunScript((*SHELL, "/dev/pipes/E"), ScriptFile("E", "#!/bin/x\ny\n")),
        ),
        ("RUN cat <<E > /x\ny\nE", RunScript((*SHELL, "cat <<E > /x\ny\nE"))),
        ("RUN <<-A cat 3<<B\n\tx\n\tA\ny\nB", RunScript((*SHELL, "<<-A cat 3<<B\n\tx\nA\ny\nB"))),
    ],
)
def test_run_script(text: str, expected: RunScript) -> None:
    (run,) = parse(f"FROM a\n{text}\n".encode(), file="Dockerfile").stages[0].instructions
    assert isinstance(run, Run)
    assert run_script(run, SHELL) == expected
