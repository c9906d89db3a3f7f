import pytest

from knarr.cli.main import command_line, run
from knarr.errors import UsageError

COMMANDS = ("build", "version", "--version")


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        ("knarr", ["build", "."], ["build", "."]),
        ("executor", [], ["build"]),
        ("executor", ["--no-push", "-f", "Dockerfile"], ["build", "--no-push", "-f", "Dockerfile"]),
        ("executor", ["--help"], ["build", "--help"]),
        ("executor", ["build", "."], ["build", "."]),
        ("executor", ["version"], ["version"]),
        ("executor", ["push", "image.tar"], ["push", "image.tar"]),
        ("executor", ["./version"], ["build", "./version"]),
    ],
)
def test_arguments(program: str, arguments: list[str], expected: list[str]) -> None:
    assert list(command_line(program, arguments, COMMANDS)) == expected


def test_warmer() -> None:
    assert command_line("warmer", ["--image=alpine"], COMMANDS) == ["warm", "--image=alpine"]


def test_executor_builds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--no-such-flag"], program="executor") == UsageError.exit_status
    assert "--no-such-flag" in capsys.readouterr().err
    assert run(["version"], program="executor") == 0
    assert capsys.readouterr().out.startswith("knarr ")
