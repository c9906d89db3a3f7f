"""A RUN step whose WORKDIR is in a volume of the container, as kaniko's users have theirs at /workspace."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.docker_engine import Engine
from support.flatten import FlatImage, flatten_layout
from support.registry import Registry
from support.volumes import look_at, make_volumes

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"
OWN = "this container's own"


@dataclass(frozen=True, slots=True)
class Volume:
    """Builds in a container whose /workspace, the context, is a volume with files."""

    engine: Engine
    registry: Registry
    place: Path

    @property
    def directory(self) -> Path:
        return self.place / "volumes/workspace"

    def build(self, dockerfile: str) -> subprocess.CompletedProcess[str]:
        volumes = make_volumes(self.place / "volumes", ["/workspace"])
        (self.directory / "Dockerfile").write_text(dockerfile)
        (self.place / "results").mkdir()
        before = look_at(self.directory)
        done = self.engine.run_to_end(
            IMAGE,
            [
                "--no-push",
                "--oci-layout-path=/kaniko/results/layout",
                f"--registry-map=docker.io={self.registry.host}",
            ],
            options=[*volumes, f"--volume={self.place}/results:/kaniko/results"],
        )
        if "made there" not in dockerfile:
            assert look_at(self.directory) == before
        return done

    def image(self, dockerfile: str) -> FlatImage:
        done = self.build(dockerfile)
        assert done.returncode == 0, done.stderr
        return flatten_layout(self.place / "results/layout")


@pytest.fixture
def volume(engine: Engine, base_registry: Registry, tmp_path: Path) -> Volume:
    return Volume(engine, base_registry, tmp_path)


def test_a_step_may_stand_there(volume: Volume) -> None:
    image = volume.image(
        "FROM busybox\nWORKDIR /workspace/dir\nRUN pwd > /made && ls >> /made\n"
        "COPY file ./\nWORKDIR /\nRUN true\n"
    )
    assert image.files["/made"].text == "/workspace/dir\nfile\nlink\n"
    assert image.files["/workspace/dir/file"].text == "/workspace"


def test_what_it_would_lose_is_an_error(volume: Volume) -> None:
    done = volume.build("FROM busybox\nWORKDIR /workspace\nRUN echo made there > binary\n")
    assert done.returncode == 8
    assert f"the step has changed binary in /workspace, which is {OWN}: the image would go" in done.stderr
    assert "hint: mount the volume somewhere else than at /workspace" in done.stderr


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("WORKDIR /workspace\nCOPY . .\nRUN rm -rf dir\n", "and the step would not see the files"),
        ("WORKDIR /workspace/app\nRUN touch x\n", "and has no such directory"),
    ],
    ids=["hidden", "missing"],
)
def test_where_it_would_work_on_other_files_it_is_refused(lines: str, reason: str, volume: Volume) -> None:
    done = volume.build(f"FROM busybox\n{lines}")
    assert done.returncode == 8
    assert f"/workspace is {OWN}, {reason}" in done.stderr


def test_a_stage_without_such_files_may(volume: Volume) -> None:
    """What one stage has there says nothing about the next."""
    image = volume.image(
        "FROM busybox AS first\nCOPY . /workspace\nRUN true\n"
        "FROM debian\nWORKDIR /workspace\nRUN touch /made\nCOPY --from=first /workspace/file /copied\n"
    )
    assert image.files["/copied"].text == "/workspace"
    assert "/made" in image.files
