"""`knarr check` and a build refuse the same texts: the build is the oracle."""

from pathlib import Path

import pytest

from knarr.cli.main import run
from knarr.errors import KnarrError
from support.planned_builds import Workshop

REFUSED = (
    "FROM scratch\nRUN --mount=type=bind ls",
    "FROM base\nWORKDIR /x\nRUN --mount=type=tmpfs,target=.. ls",
    "FROM base\nRUN --mount=type=bind,target=/ ls",
    "FROM base\nRUN --mount=type=nope ls",
    "FROM base\nRUN --mount=type=cache,target=/x,mode=9 ls",
    "FROM base\nRUN --security=insecure ls",
    "FROM base\nRUN --device=x ls",
    "FROM base\nCOPY --chmod=999 a /x",
    "FROM base\nCOPY [a- /x",
    "FROM base\nCOPY --from=No*Name a /x",
    "FROM base\nCOPY --exclude=! a /x",
    "FROM base\nCOPY https://example.test/a /x",
    "FROM base\nADD --checksum=sha256:zz https://example.test/a /x",
    "FROM base\nADD --keep-git-dir a /x",
    "FROM base\nADD git@example.test:a/b.git#-x /x",
    "FROM base\nEXPOSE 99999",
    "FROM base\nSTOPSIGNAL NOPE",
    "FROM base\nARG NONE\nVOLUME $NONE",
    "FROM base\nARG NONE\nENV A=${NONE:?missing}",
    "FROM scratch\nENV A=${NONE:?missing}",
    "FROM base AS a\nONBUILD STOPSIGNAL NOPE\nFROM a",
    "FROM base AS a\nSTOPSIGNAL NOPE\nFROM a",
    "FROM base AS a\nSTOPSIGNAL NOPE\nFROM scratch\nCOPY --from=a / /",
    "FROM base:",
    "FROM --platform=no/such/thing/x base",
    "ARG SOURCE_DATE_EPOCH=yesterday\nFROM base",
)
PASSED = (
    "FROM base\nWORKDIR /x\nRUN --mount=type=bind ls",
    "FROM base\nRUN --mount=type=bind ls",
    "FROM base\nWORKDIR $HOME/x\nRUN --mount=type=bind,target=.. ls",
    "FROM base\nVOLUME $DATA_OF_THE_BASE",
    "FROM base\nENV A=${NAME_OF_THE_BASE:?missing}",
    "FROM base\nCOPY --chmod=$MODE_OF_THE_BASE a /x",
    "FROM base AS a\nSTOPSIGNAL NOPE\nFROM base",
    "FROM base\nARG NONE\nUSER $NONE\nWORKDIR $NONE\nCOPY --chmod=$NONE --chown=$NONE a /x",
)
"""What a base image may make right."""


def check(place: Path, text: str) -> int:
    (place / "Dockerfile").write_text(text)
    (place / "a").touch()
    return run(["check", str(place)])


@pytest.mark.parametrize("text", REFUSED)
def test_refused_as_the_build_refuses_it(tmp_path: Path, text: str) -> None:
    workshop = Workshop.make(tmp_path)
    (workshop.context / "a").touch()
    with pytest.raises(KnarrError) as refused:
        workshop.plan(text + "\n")
    assert check(workshop.context, text + "\n") == refused.value.exit_status


@pytest.mark.parametrize("text", PASSED)
def test_what_a_base_image_decides_is_not_judged(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text + "\n") == 0


def test_the_target_decides_which_stages_count(tmp_path: Path) -> None:
    text = "FROM base AS bad\nSTOPSIGNAL NOPE\nFROM base\n"
    assert check(tmp_path, text) == 0
    assert run(["check", str(tmp_path), "--target=bad"]) == 3
