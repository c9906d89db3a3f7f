"""The template's reader of lists beside that of the actions, which is compared with docker's."""

import random
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from knarr_action.errors import ActionError
from knarr_action.lists import read_list

from support import gitlab_template

ROUNDS = 300


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader, as the job's script writes it."""
    script = gitlab_template.script_of(gitlab_template.job("knarr-build"))
    path = tmp_path_factory.mktemp("reader") / "lists.py"
    path.write_text(script.partition("lists.py\" <<'END'\n")[2].partition("\nEND\n")[0])
    return path


def _read(program: Path, texts: dict[str, str]) -> str:
    """What the shell would take, for one text an input."""
    names = [part for name in texts for part in ("", name)]
    variables = {f"KNARR_INPUT_{name}": text for name, text in texts.items()}
    command = [sys.executable, "-ISBXutf8", str(program), "", *names]
    done = subprocess.run(command, env=variables, capture_output=True)
    return (done.stderr if done.returncode else done.stdout).decode()


def test_both_readers_give_the_same(program: Path) -> None:
    chosen = random.Random(14)
    for number in range(ROUNDS):
        parts = ["a", "=", ",", '"', '"', '""', " ", "\n", "\r\n", "#", "{"]
        texts = {
            name: "".join(chosen.choices(parts, k=chosen.randint(1, 14)))
            for name in ("TAGS", "LABELS", "SECRETS")
        }
        name = list(texts)[number % len(texts)]
        try:
            wanted = read_list("", texts[name].strip(), at_commas=name == "TAGS", quotes=name != "SECRETS")
        except ActionError:
            assert "has a quote that is never closed" in _read(program, {name: texts[name]})
        else:
            assert shlex.split(_read(program, {name: texts[name]})) == wanted, texts[name]


def test_bytes_that_are_no_text_stay(program: Path) -> None:
    variables = {b"KNARR_INPUT_LABELS": b"a=$B", b"B": b"\xff\xc3\xa9"}
    command = [sys.executable, "-ISBXutf8", str(program), "", "--label=", "LABELS"]
    done = subprocess.run(command, env=variables, capture_output=True, check=True)
    assert done.stdout == b"'--label=a=\xff\xc3\xa9' "
