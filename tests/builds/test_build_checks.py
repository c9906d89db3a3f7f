"""The build checks within a build: warnings on stderr, or the build's end before any step."""

from pathlib import Path

import pytest

from knarr.cli.values.environment import this_platform
from support.bases import Base, push
from support.image_layout import PlatformImage, write_layout
from support.knarr_cli import knarr
from support.registry import Registry

BAD = "FROM scratch AS Builder\nCOPY . /\nCMD serve\nFROM scratch\nENV a b\n"
WARNINGS = [
    "StageNameCasing: Stage name 'Builder' should be lowercase (line 1)",
    "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS "
    "signals (line 3)",
]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text(BAD)
    return directory


def build(context: Path, *flags: str) -> tuple[int, str]:
    layout = context.parent / "layout"
    arguments = ["build", str(context), "--no-push", "--isolation=none", f"--oci-layout-path={layout}"]
    result = knarr([*arguments, "--target=builder", *flags])
    return result.returncode, result.stderr


def test_warnings_of_the_needed_stages(context: Path) -> None:
    status, err = build(context)
    assert status == 0, err
    assert [line.partition("warning: ")[2] for line in err.splitlines() if "warning: " in line] == WARNINGS


def test_error_true_ends_the_build_before_a_step(context: Path) -> None:
    (context / "Dockerfile").write_text(f"# check=error=true\n{BAD}")
    status, err = build(context)
    assert status == 3
    assert "error: lint violation found for rules: StageNameCasing, JSONArgsRecommended" in err
    assert "Dockerfile:2" in err
    assert "COPY" not in err
    assert not (context.parent / "layout").exists()


def test_build_argument_counts_instead_of_the_directive(context: Path) -> None:
    (context / "Dockerfile").write_text(f"# check=error=true\n{BAD}")
    status, err = build(context, "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all")
    assert status == 0, err
    assert "warning: " not in err


@pytest.mark.parametrize(
    ("image", "warnings"),
    [
        ("docker/dockerfile:1.7-labs", []),
        ("example.com/foo:1", ["the file is read as a Dockerfile, not by the frontend example.com/foo:1"]),
    ],
)
def test_another_frontend_is_told(context: Path, image: str, warnings: list[str]) -> None:
    (context / "Dockerfile").write_text(f"# syntax={image}\nFROM scratch AS builder\nENV a=b\n")
    status, err = build(context)
    assert status == 0, err
    assert [line.partition("warning: ")[2] for line in err.splitlines() if "warning: " in line] == warnings


def build_on(registry: Registry, context: Path, text: str) -> tuple[int, list[str]]:
    (context / "Dockerfile").write_text(text)
    arguments = [
        "build",
        str(context),
        "--no-push",
        "--isolation=none",
        f"--insecure-registry={registry.host}",
    ]
    flags = [f"--registry-map=docker.io={registry.host}", f"--tar-path={context.parent / 'image.tar'}"]
    result = knarr([*arguments, *flags])
    lines = result.stderr.splitlines()
    return result.returncode, [line.partition("warning: ")[2] for line in lines if "warning: " in line]


@pytest.mark.registry
def test_variables_and_shell_of_the_base_image(context: Path, base_registry: Registry) -> None:
    text = "FROM fullconfig\nENV a=$FROM_BASE\nENV b=$FROMBASE\nENV c=$NEVER_SAID\nCMD serve\n"
    assert build_on(base_registry, context, text) == (
        0,
        [
            "UndefinedVar: Usage of undefined variable '$FROMBASE' (did you mean $FROM_BASE?) (line 3)",
            "UndefinedVar: Usage of undefined variable '$NEVER_SAID' (line 4)",
        ],
    )


@pytest.mark.registry
def test_platform_of_the_base_image(context: Path, base_registry: Registry, tmp_path: Path) -> None:
    write_layout(tmp_path / "foreign", [PlatformImage([], {}, "s390x")])
    push([Base("foreign", tmp_path / "foreign")], base_registry.host)
    status, warnings = build_on(base_registry, context, "FROM foreign\nENV a=b\n")
    assert status == 0
    assert warnings[-1] == (
        'InvalidBaseImagePlatform: Base image foreign was pulled with platform "linux/s390x", expected '
        f'"{this_platform()}" for current build (line 1)'
    )
