"""--build-context in whole builds: directories, images, OCI layouts, in place of stages and images."""

import json
from pathlib import Path

import pytest

from support.builds_as import Builder, tree_digest
from support.exec_request import Identity
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]


@pytest.fixture
def builder(tmp_path: Path, base_registry: Registry) -> Builder:
    made = Builder(Identity("root", 0, 0), tmp_path, base_registry.host, tmp_path / "work")
    for path in (made.context, made.work):
        path.mkdir()
    return made


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    """A directory to be a named context, with an ignore file."""
    directory = tmp_path / "extra"
    (directory / "sub").mkdir(parents=True)
    for name, text in {".dockerignore": "hidden\n", "hidden": "no\n", "sub/file": "extra\n"}.items():
        (directory / name).write_text(text)
    (directory / "sub/file").chmod(0o640)
    return directory


def test_directory_as_source(builder: Builder, extra: Path) -> None:
    digest = tree_digest(extra)
    result = builder.build(
        "FROM busybox\n"
        "COPY --from=Extra / /copied/\n"
        "RUN --mount=from=extra,target=/m,rw find /m -type f | sort > /listing; touch /m/sub/new\n",
        f"--build-context=extra={extra}",
    )
    assert result.text("/listing") == "/m/.dockerignore\n/m/sub/file\n"
    copied = result.image.files["/copied/sub/file"]
    assert (copied.uid, copied.mode) == (0, 0o640)
    assert "/copied/hidden" not in result.image.files
    assert tree_digest(extra) == digest


def test_directory_as_base(builder: Builder, extra: Path) -> None:
    result = builder.build("FROM extra\nENV A=1\n", f"--build-context=extra={extra}")
    assert {path for path, facts in result.image.files.items() if facts.kind == "file"} == {
        "/.dockerignore",
        "/sub/file",
    }
    assert "A=1" in result.image.config["config"]["Env"]


def test_directory_in_place_of_a_stage(builder: Builder, extra: Path) -> None:
    """The stage's own text is never looked at."""
    result = builder.build(
        "FROM does.not.exist/image AS src\nRUN false\nFROM busybox\nCOPY --from=src /sub/file /file\n",
        f"--build-context=src={extra}",
    )
    assert result.text("/file") == "extra\n"


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("golang", "docker.io/library/golang:latest"),
        ("docker.io/library/golang:1.22", "golang:1.22"),
        ("golang:latest", "golang"),
        ("golang::linux/amd64", "golang"),
    ],
)
def test_image_in_place_of_an_image(builder: Builder, name: str, used: str) -> None:
    result = builder.build(
        f"FROM {used}\nCOPY --from={used} /data/keep /again\n",
        f"--build-context={name}=docker-image://layered",
    )
    assert "/data/keep" in result.image.files
    assert "/again" in result.image.files


def test_context_for_another_platform_is_not_there(builder: Builder) -> None:
    result = builder.build("FROM busybox\n", "--build-context=busybox::linux/s390x=docker-image://layered")
    assert "/data/keep" not in result.image.files


def test_layout(builder: Builder, tmp_path: Path) -> None:
    first = builder.build("FROM busybox\nRUN echo first > /first\nENV FIRST=1\n")
    layout = tmp_path / "kept"
    first.layout.rename(layout)
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    for value in (layout, f"{layout}@{digest}", "kept"):
        result = builder.build(
            "FROM base\nRUN --mount=from=base,target=/m cat /m/first > /second\n",
            f"--build-context=base=oci-layout://{value}",
        )
        assert result.text("/second") == "first\n"
        assert "FIRST=1" in result.image.config["config"]["Env"]
    missing = builder.build("FROM base\n", f"--build-context=base=oci-layout://{layout}:none")
    assert missing.returncode == 4
    assert "has no image none" in missing.output


def test_damaged_layout(builder: Builder, tmp_path: Path) -> None:
    layout = tmp_path / "kept"
    builder.build("FROM busybox\nRUN echo first > /first\n").layout.rename(layout)
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].removeprefix(
        "sha256:"
    )
    layers = json.loads((layout / "blobs/sha256" / manifest).read_text())["layers"]
    blob = layout / "blobs/sha256" / layers[-1]["digest"].removeprefix("sha256:")
    blob.write_bytes(b"x" * blob.stat().st_size)
    assert builder.build("FROM base\n", f"--build-context=base=oci-layout://{layout}").returncode == 7


@pytest.mark.parametrize(
    "value",
    ["x=https://example.com/x.git", "x=docker-image://UPPER", "x", "=dir", "x=oci-layout://a@sha256:1"],
)
def test_refused(builder: Builder, value: str) -> None:
    assert builder.build("FROM scratch\nCOPY Dockerfile /\n", f"--build-context={value}").returncode == 2
