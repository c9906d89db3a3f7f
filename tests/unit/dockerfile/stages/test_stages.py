"""Targets, references between stages, plans."""

import pytest

from knarr.dockerfile.language.parser import parse, parse_onbuild
from knarr.dockerfile.stages.stages import (
    ContextReference,
    FromReference,
    ImageReference,
    PlannedStage,
    ScratchReference,
    StageReference,
    plan_stages,
    resolve_target,
    target_name,
)
from knarr.errors import DockerfileError


def plan(
    text: str, target: str | None = None, *, env: dict[str, str] | None = None, contexts: tuple[str, ...] = ()
) -> tuple[PlannedStage, ...]:
    dockerfile = parse(text.encode(), file="Dockerfile")
    return plan_stages(dockerfile, resolve_target(dockerfile, target), env or {}, contexts=contexts)


THREE = "FROM a AS One\nFROM b\nFROM c AS three\n"


@pytest.mark.parametrize(
    ("target", "index"), [(None, 2), ("", 2), ("one", 0), ("ONE", 0), ("1", 1), ("three", 2), ("0", 0)]
)
def test_target(target: str | None, index: int) -> None:
    assert resolve_target(parse(THREE.encode(), file="Dockerfile"), target).index == index


@pytest.mark.parametrize(
    ("target", "name"),
    [(None, "three"), ("", "three"), ("ONE", "ONE"), ("one", "one"), ("0", "one"), ("1", None)],
)
def test_target_name_is_as_it_was_asked_for(target: str | None, name: str | None) -> None:
    # BuildKit 73ed6825c gives the first five; a target by number is ours.
    assert target_name(parse(THREE.encode(), file="Dockerfile"), target) == name


@pytest.mark.parametrize(
    ("target", "hint"), [("thre", "did you mean three?"), ("3", "the stages are one, three"), ("-1", "one")]
)
def test_unknown_target(target: str, hint: str) -> None:
    with pytest.raises(DockerfileError, match="could not be found") as caught:
        resolve_target(parse(THREE.encode(), file="Dockerfile"), target)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "indexes", "base", "references"),
    [
        ("FROM scratch", [0], ScratchReference(), []),
        ("FROM a AS b\nFROM B", [0, 1], StageReference(0), []),
        ("FROM a AS b\nFROM c", [1], ImageReference("c"), []),
        ("FROM a\nFROM b\nCOPY --from=0 x y", [0, 1], ImageReference("b"), [StageReference(0)]),
        ("FROM a AS x\nFROM b\nCOPY --from=X x y", [0, 1], ImageReference("b"), [StageReference(0)]),
        ("FROM b\nCOPY --from=alpine x y", [0], ImageReference("b"), [ImageReference("alpine")]),
        ("FROM b\nCOPY --from=scratch x y", [0], ImageReference("b"), [ScratchReference()]),
        ("FROM a AS scratch\nFROM scratch", [0, 1], StageReference(0), []),
        ("FROM a AS x\nFROM b AS x\nFROM x", [1, 2], StageReference(1), []),
        ("FROM a AS x\nFROM b\nCOPY --from=x a b\nFROM c AS x\nFROM x", [2, 3], StageReference(2), []),
        (
            "FROM a AS x\nFROM b\nRUN --mount=from=x,target=/x y",
            [0, 1],
            ImageReference("b"),
            [StageReference(0)],
        ),
        ("FROM a\nFROM b\nRUN --mount=from=0,target=/x y", [1], ImageReference("b"), [ImageReference("0")]),
        ("FROM ${UNUSED:?x}\nFROM b", [1], ImageReference("b"), []),
        (
            "FROM a AS x\nONBUILD COPY --from=dep a b\nFROM d AS dep\nFROM x",
            [0, 1, 2],
            StageReference(0),
            [StageReference(1)],
        ),
        ("FROM a:$TAG", [0], ImageReference("a:1"), []),
    ],
)
def test_plan(text: str, indexes: list[int], base: FromReference, references: list[FromReference]) -> None:
    planned = plan(text, env={"TAG": "1"})
    assert [stage.stage.index for stage in planned] == indexes
    assert planned[-1].base == base
    assert list(planned[-1].references) == references


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("FROM $X", 1, "base name ($X) should not be blank", "X has no value"),
        ("FROM $TGA", 1, "base name ($TGA) should not be blank", "did you mean TAG?"),
        ("FROM --platform=$X a", 1, "empty platform value from expression $X", "X has no value"),
        ("FROM ${X:?gone}", 1, "X: gone", None),
        ("FROM a\nCOPY --from=0 a b", 2, "needs to be defined before", None),
        ("FROM a AS x\nCOPY --from=x a b", 2, "needs to be defined before", None),
        ("FROM a\nCOPY --from=1 a b\nFROM b", 2, "needs to be defined before", None),
        ("FROM a\nCOPY --from=9 a b", 2, "invalid stage index 9", None),
        ("FROM a\nCOPY --from=-1 a b", 2, "invalid stage index -1", None),
        ("FROM a\nCOPY --from=later a b\nFROM b AS later", 2, "needs to be defined before", None),
        ("FROM a AS x\nONBUILD COPY --from=9 a b\nFROM x", 3, "invalid stage index 9", None),
    ],
)
def test_plan_error(text: str, line: int, message: str, hint: str | None) -> None:
    dockerfile = parse(text.encode(), file="Dockerfile")
    target = dockerfile.stages[0] if "ONBUILD" not in text else dockerfile.stages[-1]
    with pytest.raises(DockerfileError) as caught:
        plan_stages(dockerfile, target, {"TAG": "1"})
    assert message in caught.value.message
    assert caught.value.location is not None
    assert caught.value.location.line == line
    assert hint is None or hint in str(caught.value.hint)


def test_platform_is_expanded() -> None:
    (stage,) = plan("FROM --platform=$P a", env={"P": "linux/arm64"})
    assert stage.platform == "linux/arm64"


def test_named_contexts_come_first() -> None:
    (stage,) = plan("FROM img\nCOPY --from=src a b", contexts=("img", "src"))
    assert stage.base == ContextReference("img")
    assert stage.references == (ContextReference("src"),)
    first, second = plan("FROM $nothing AS dep\nFROM dep", contexts=("dep",))
    assert first.base == ContextReference("dep")
    assert second.base == StageReference(0)


def test_triggers_run_first_and_bring_their_stages() -> None:
    dockerfile = parse(b"FROM a AS dep\nFROM b\nRUN x", file="Dockerfile")
    trigger = parse_onbuild("COPY --from=dep a b", file="image")
    planned = plan_stages(dockerfile, dockerfile.stages[1], {}, image_triggers={1: (trigger,)})
    assert [stage.stage.index for stage in planned] == [0, 1]
    assert [item.KEYWORD for item in planned[1].instructions] == ["COPY", "RUN"]
