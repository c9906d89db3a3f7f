"""Which findings a Dockerfile has: tables of Dockerfiles, a file for each rule, in tests/data/checks."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.parser import Dockerfile, parse
from knarr.dockerfile.language.scope import global_scope
from knarr.dockerfile.lint.checks import by_line, check_file, check_stages
from knarr.dockerfile.lint.options import CheckOptions
from knarr.dockerfile.lint.rules import RULES
from knarr.dockerfile.lint.walk import BaseImage, CheckContext
from knarr.dockerfile.stages.stages import PlannedStage, plan_stages, resolve_target
from knarr.errors import DockerfileError
from knarr.oci.platform import Platform
from support.places import TESTS

DATA = TESTS / "data" / "checks"
FILES = sorted(DATA.glob("*.json"))
PLATFORM = "linux/amd64"


def rows() -> Iterator[Any]:
    for file in FILES:
        for row in json.loads(file.read_text()):
            yield pytest.param(row, id=f"{file.stem}: {row['name']}")


def context_of(row: dict[str, Any], dockerfile: Dockerfile) -> CheckContext:
    build_args = row.get("build_args", {})
    global_args = global_scope(
        dockerfile.global_args,
        build_args=build_args,
        build_platform=PLATFORM,
        target_platform=PLATFORM,
        target_stage=None,
    )
    bases = {
        int(index): BaseImage(
            base.get("env", {}),
            Platform.parse(base.get("platform", PLATFORM)),
            has_shell=base.get("has_shell", False),
        )
        for index, base in row.get("bases", {}).items()
    }
    ignore = IgnorePatterns.parse(row.get("ignore", ""), file=".dockerignore")
    return CheckContext(global_args, build_args, Platform.parse(PLATFORM), "\\", ignore, bases)


def plan_of(dockerfile: Dockerfile, target: str | None, context: CheckContext) -> Iterable[PlannedStage]:
    targets = [resolve_target(dockerfile, target)] if target else dockerfile.stages
    plans = [plan_stages(dockerfile, stage, context.global_args) for stage in targets]
    return {each.stage.index: each for plan in plans for each in plan}.values()


@pytest.mark.parametrize("row", list(rows()))
def test_findings(row: dict[str, Any]) -> None:
    dockerfile = parse("\n".join(row["dockerfile"]).encode(), file="Dockerfile")
    context = context_of(row, dockerfile)
    options = CheckOptions.of(dockerfile, context.build_args)
    plan = plan_of(dockerfile, row.get("target"), context)
    findings = by_line(
        (*check_file(dockerfile, options, context), *check_stages(dockerfile, plan, options, context))
    )
    assert [[each.rule.name, each.location.line, each.detail] for each in findings] == row["findings"]


def test_every_rule_is_found_and_is_not() -> None:
    assert {file.stem for file in FILES} == {*RULES, "directive"}
    for file in FILES:
        found = [[name for name, *_ in row["findings"]] for row in json.loads(file.read_text())]
        assert any(file.stem in names for names in found) or file.stem == "directive"
        assert any(file.stem not in names for names in found)


def test_a_finding_as_text() -> None:
    dockerfile = parse(b"FROM scratch\nCMD a \\\n  b\n", file="Dockerfile")
    context = context_of({}, dockerfile)
    plan = plan_of(dockerfile, None, context)
    (finding,) = check_stages(dockerfile, plan, CheckOptions(), context)
    assert str(finding) == (
        "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior "
        "related to OS signals (line 2)"
    )
    assert finding.end_line == 3


PIECES = [
    *(
        b"$",
        b"${",
        b"}",
        b"{a:?b}",
        b"'",
        b'"',
        b"\\\n",
        b"\n",
        b"a",
        b"A",
        b"=",
        b" ",
        b"/",
        b":",
        b"\xc3\xa9",
    ),
    *(b"\nARG ", b"\nENV ", b"\nFROM ", b" AS b", b"--platform=", b"\nCOPY ", b"<<E", b"\nE\n", b"\nEXPOSE "),
    *(b"\nONBUILD ", b"\nRUN --mount=", b"target=", b"\n# check=", b"skip=", b"\nWORKDIR ", b"\nCMD ", b","),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_what_parses_can_be_checked(parts: list[bytes]) -> None:
    try:
        dockerfile = parse(b"FROM a AS b" + b"".join(parts), file="Dockerfile")
        context = context_of({"ignore": "**\n!a"}, dockerfile)
        plan = tuple(plan_of(dockerfile, None, context))
    except DockerfileError:
        return
    options = CheckOptions(experimental=frozenset({"all"}))
    for finding in (
        *check_file(dockerfile, options, context),
        *check_stages(dockerfile, plan, options, context),
    ):
        str(finding).encode()
