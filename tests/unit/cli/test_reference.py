"""The reference of the command line is what the code says."""

import pytest
from scripts.cli_reference import REFERENCE, main, reference

from knarr.cli.main import run


def test_the_page_is_up_to_date() -> None:
    assert reference() == REFERENCE.read_text(), "make tables"
    assert main(["--check"]) == 0


def test_commands_of_the_page_are_those_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    run(["no-such-command"])
    known = capsys.readouterr().err.partition("the commands are ")[2].strip().split(", ")
    titles = [
        line.strip("#` ").removeprefix("knarr ") for line in reference().splitlines() if line[:4] == "## `"
    ]
    assert sorted(titles) == sorted(known)
