"""ARG and ENV: which wins, and who sees it."""

import pytest

from knarr.dockerfile.language.instructions import Arg, Env
from knarr.dockerfile.language.parser import Dockerfile, parse
from knarr.dockerfile.language.scope import DEFAULT_PATH, Scope, global_scope
from knarr.dockerfile.language.substitute import substitute
from knarr.errors import DockerfileError


def walk(
    text: str,
    *,
    build_args: dict[str, str] | None = None,
    env: tuple[str, ...] = ("PATH=/bin",),
) -> Scope:
    """The scope at the end of the last stage; a stage FROM scratch is the only base known here."""
    dockerfile = parse(text.encode(), file="Dockerfile")
    scope = Scope.from_image(env)
    for instruction in dockerfile.stages[-1].instructions:
        if isinstance(instruction, Arg):
            scope = scope.declare_arg(
                instruction,
                build_args=build_args or {},
                global_args=globals_of(dockerfile, build_args),
                escape=dockerfile.directives.escape,
            )
        elif isinstance(instruction, Env):
            expanded = substitute(instruction, scope.expansion_env(), escape=dockerfile.directives.escape)
            scope = scope.set_env((pair.key, pair.value) for pair in expanded.pairs)
    return scope


def globals_of(dockerfile: Dockerfile, build_args: dict[str, str] | None = None) -> dict[str, str]:
    return global_scope(
        dockerfile.global_args,
        build_args=build_args or {},
        build_platform="linux/amd64",
        target_platform="linux/arm/v7",
        target_stage=None,
    )


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        ("FROM a\nARG X=d", {}, {"X": "d"}),
        ("FROM a\nARG X=d", {"X": "b"}, {"X": "b"}),
        ("FROM a\nARG X", {}, {}),
        ("FROM a\nARG X", {"X": ""}, {"X": ""}),
        ("FROM a\nARG X=", {}, {"X": ""}),
        ("ARG X=g\nFROM a", {"X": "b"}, {}),
        ("ARG X=g\nFROM a\nARG X", {}, {"X": "g"}),
        ("ARG X=g\nFROM a\nARG X=d", {}, {"X": "d"}),
        ("ARG X='$Y'\nFROM a\nARG Y=1 X", {}, {"X": "$Y", "Y": "1"}),
        ('FROM a\nARG A=1 B=$A C="$B 2"', {}, {"A": "1", "B": "1", "C": "1 2"}),
        ("FROM a\nARG X=${Y:?no}", {"X": "b"}, {"X": "b"}),
        ("FROM a\nARG X=d\nENV X=e", {}, {"X": "e"}),
        ("FROM a\nENV X=e\nARG X=d", {}, {"X": "d"}),
        ("FROM a\nENV X=e\nARG X", {}, {"X": "e"}),
        ("FROM a\nARG X=1\nENV Y=$X", {"X": "2"}, {"X": "2", "Y": "2"}),
        ("FROM a\nENV a=1\nENV a=2 b=$a", {}, {"a": "2", "b": "1"}),
        (
            "FROM a\nARG TARGETARCH\nARG TARGETVARIANT BUILDVARIANT",
            {},
            {"TARGETARCH": "arm", "TARGETVARIANT": "v7", "BUILDVARIANT": ""},
        ),
        (
            "FROM a\nARG TARGETPLATFORM TARGETSTAGE",
            {"TARGETPLATFORM": "x/y"},
            {"TARGETPLATFORM": "x/y", "TARGETSTAGE": "default"},
        ),
        ("FROM a\nARG BUILDKIT_SBOM_SCAN_STAGE=true", {}, {}),
    ],
)
def test_variables(text: str, build_args: dict[str, str], expected: dict[str, str]) -> None:
    assert walk(text, build_args=build_args).variables == {"PATH": "/bin", **expected}


def test_env_of_the_image_keeps_what_env_said() -> None:
    scope = walk("FROM a\nENV X=e\nARG X=d")
    assert scope.image_env["X"] == "e"
    assert scope.run_env({})["X"] == "d"
    assert scope.inherited().run_env({})["X"] == "e"


def test_path_is_added_where_it_lacks() -> None:
    assert walk("FROM a", env=("A=b=c",)).image_env == {"A": "b=c", "PATH": DEFAULT_PATH}


def test_proxies_reach_run_without_a_declaration() -> None:
    scope = walk("FROM a", build_args={"http_proxy": "p"})
    env = scope.run_env({"http_proxy": "p", "OTHER": "x", "NO_PROXY": ""})
    assert env == {"PATH": "/bin", "http_proxy": "p", "HTTP_PROXY": "p"}
    assert scope.history_args() == ()


def test_history_args() -> None:
    scope = walk("FROM a\nARG A=1 B\nARG http_proxy A=2\nENV B=e", build_args={"http_proxy": "p"})
    assert scope.history_args() == (("A", "2"), ("B", "e"), ("http_proxy", "p"))


def test_global_args_see_earlier_ones_and_platforms() -> None:
    dockerfile = parse(b"ARG A=1\nARG B=$A-$TARGETARCH C=${B}x D\nFROM a", file="Dockerfile")
    values = globals_of(dockerfile, {"A": "2"})
    assert (values["A"], values["B"], values["C"]) == ("2", "2-arm", "2-armx")
    assert "D" not in values


def test_bad_default_shows_the_place() -> None:
    with pytest.raises(DockerfileError) as caught:
        walk("FROM a\nARG X=${Y:?no}")
    assert caught.value.location is not None
    assert caught.value.location.line == 2
