"""`knarr check`: what it prints, what it returns."""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from knarr.cli.main import run

BAD = "FROM scratch AS Builder\nCMD serve \\\n  now\n"
PAGE = "https://docs.docker.com/go/dockerfile/rule"

Check = Callable[[Sequence[str]], tuple[int, str, str]]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text(BAD)
    return directory


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    def function(arguments: Sequence[str]) -> tuple[int, str, str]:
        status = run(["check", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return function


def warnings(out: str) -> list[list[Any]]:
    return [
        [each["ruleName"], each["location"]["ranges"][0]["start"]["line"]]
        for each in json.loads(out)["warnings"]
    ]


def test_text(context: Path, check: Check) -> None:
    status, out, err = check(["context"])
    assert (status, err) == (0, "")
    assert out.split("\n") == [
        "Dockerfile:1: StageNameCasing: Stage name 'Builder' should be lowercase",
        f"  {PAGE}/stage-name-casing/",
        "     1 | FROM scratch AS Builder",
        "",
        "Dockerfile:2: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended "
        "behavior related to OS signals",
        f"  {PAGE}/json-args-recommended/",
        "     2 | CMD serve \\",
        "     3 |   now",
        "",
        "Check complete, 2 warnings found.",
        "",
    ]


def test_text_shows_no_credentials(context: Path, check: Check) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nadd https://user:secret@host.example/a /\n")
    _, out, _ = check(["context"])
    assert "     2 | add https://host.example/a /" in out
    assert "secret" not in out


def test_text_without_findings(context: Path, check: Check) -> None:
    (context / "Dockerfile").write_text("FROM scratch\n")
    assert check(["context"]) == (0, "Check complete, no warnings found.\n", "")
    warning = "warning: the file is read as a Dockerfile, not by the frontend a/b\n"
    flags = ["--build-arg=BUILDKIT_SYNTAX=a/b"]
    assert check(["context", *flags]) == (0, "Check complete, no warnings found.\n", warning)


def test_json(context: Path, check: Check) -> None:
    status, out, err = check(["context", "--format", "json"])
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["warnings"][1] == {
        "ruleName": "JSONArgsRecommended",
        "description": "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related "
        "to OS signals",
        "url": f"{PAGE}/json-args-recommended/",
        "detail": "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        "location": {"ranges": [{"start": {"line": 2}, "end": {"line": 3}}]},
    }
    (source,) = document["sources"]
    assert base64.b64decode(source.pop("data")).decode() == BAD
    assert source == {"filename": "Dockerfile", "language": "Dockerfile"}
    assert "buildError" not in document


@pytest.mark.parametrize("way", ["directive", "build argument"])
@pytest.mark.parametrize("format_", ["text", "json"])
def test_error_true(context: Path, check: Check, way: str, format_: str) -> None:
    flags = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true"]
    if way == "directive":
        (context / "Dockerfile").write_text(f"# check=error=true\n{BAD}")
        flags = []
    status, out, err = check(["context", f"--format={format_}", *flags])
    assert status == 1
    assert err == "error: lint violation found for rules: StageNameCasing, JSONArgsRecommended\n"
    assert "JSONArgsRecommended" in out


def test_error_true_without_findings(context: Path, check: Check) -> None:
    flags = ["--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all;error=true"]
    assert check(["context", *flags]) == (0, "Check complete, no warnings found.\n", "")


def test_error_in_the_text(context: Path, check: Check) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nRUNN a\n")
    status, out, err = check(["context", "--format=json"])
    document = json.loads(out)
    assert (status, document["warnings"]) == (3, [])
    assert document["buildError"] == {
        "message": "unknown instruction: RUNN",
        "location": {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]},
    }
    assert "Dockerfile:2" in err


def test_findings_come_before_an_error(context: Path, check: Check) -> None:
    (context / "Dockerfile").write_text("FROM --platform=$BULIDPLATFORM scratch\n")
    status, out, err = check(["context"])
    assert status == 3
    assert "'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)" in out
    assert "Check complete" not in out
    assert "empty platform value" in err


def test_every_stage_or_what_a_target_needs(context: Path, check: Check) -> None:
    (context / "Dockerfile").write_text("FROM scratch AS a\nENV a b\nFROM scratch AS b\nENV c d\n")
    found = [["LegacyKeyValueFormat", 2], ["LegacyKeyValueFormat", 4]]
    assert warnings(check(["context", "--format=json"])[1]) == found
    assert warnings(check(["context", "--format=json", "--target=a"])[1]) == found[:1]
    assert warnings(check(["context", "--format=json", "--target=b"])[1]) == found[1:]


def test_a_stage_may_be_the_base_of_another(context: Path, check: Check) -> None:
    (context / "Dockerfile").write_text("FROM scratch AS a\nENV a b\nFROM a AS b\nFROM b\nCOPY $x /\n")
    found = [["LegacyKeyValueFormat", 2], ["UndefinedVar", 5]]
    assert warnings(check(["context", "--format=json"])[1]) == found


def test_ignore_file(context: Path, check: Check) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY a b /\n")
    (context / ".dockerignore").write_text("a\n")
    assert warnings(check(["context", "--format=json"])[1]) == [["CopyIgnoredFile", 2]]
    (context / "Dockerfile.dockerignore").write_text("c\n")
    assert warnings(check(["context", "--format=json"])[1]) == []


@pytest.mark.parametrize(
    "flags",
    [
        ["-c", "context", "-f", "other"],
        ["-ccontext", "-fother"],
        ["--context=context", "--dockerfile=other"],
        ["--context", "dir://context", "--dockerfile", "other"],
    ],
)
def test_flags(context: Path, check: Check, flags: list[str]) -> None:
    (context / "other").write_text("FROM scratch\nENV a b\n")
    flags = [flag.replace("dir://context", f"dir://{context}") for flag in flags]
    status, out, _ = check(flags)
    assert (status, out.split("\n")[0].split(": ")[:2]) == (0, ["other:2", "LegacyKeyValueFormat"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["context", "--format=xml"], "not a format"),
        (["context", "--destination=a"], "unknown flag: --destination"),
        (["context", "other"], "unexpected argument"),
        (["context", "-c", "context"], "two build contexts"),
        (["context", "--build-arg==1"], "--build-arg takes"),
        (["context", "--build-arg=BUILDKIT_DOCKERFILE_CHECK=nonsense"], "invalid check option"),
    ],
)
def test_wrong_usage(context: Path, check: Check, flags: list[str], message: str) -> None:
    status, out, err = check(flags)
    assert (status, out) == (2, "")
    assert message in err


def test_other_failures(context: Path, check: Check) -> None:
    assert check(["context", "-f", "missing"])[0] == 4
    status, _, err = check(["context", "--target=missing"])
    assert status == 3
    assert "could not be found" in err
    (context / "Dockerfile").write_text("# check=nonsense\nFROM scratch\n")
    status, _, err = check(["context"])
    assert status == 3
    assert "failed to parse check options" in err


def test_value_of_a_build_argument_from_the_environment(
    context: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKIT_DOCKERFILE_CHECK", "skip=all")
    assert len(warnings(check(["context", "--format=json"])[1])) == 2
    flags = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK"]
    assert warnings(check(["context", "--format=json", *flags])[1]) == []
