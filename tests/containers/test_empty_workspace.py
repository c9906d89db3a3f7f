"""An empty volume at the directory of a Dockerfile: what Tekton mounts in every pod, and how it is left."""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.compare import compare
from support.docker_engine import DOCKER, Engine
from support.flatten import FlatImage, flatten_docker_archive, flatten_layout
from support.registry import Registry
from support.volumes import look_at

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"

KUBEBUILDER = """\
FROM busybox AS builder
WORKDIR /workspace
COPY go.mod go.mod
COPY cmd/ cmd/
RUN cat go.mod cmd/main.go > manager && mkdir -m 750 bin && touch bin/x && chown 65532:0 bin/x
FROM busybox AS small
WORKDIR /
COPY --from=builder /workspace/manager .
USER 65532:65532
FROM builder AS late
RUN rm go.mod && ls manager bin > list
USER 65532:65532
WORKDIR /workspace/later
"""
TEKTON = ("bin", "run", "creds", "home", "results", "steps", "downward", "scripts")


@dataclass(frozen=True, slots=True)
class Pod:
    """Runs the executor with what Tekton mounts in every container: an empty /workspace, and more."""

    engine: Engine
    registry: Registry
    place: Path

    @classmethod
    def make(cls, engine: Engine, registry: Registry, place: Path) -> "Pod":
        pod = cls(engine, registry, place)
        for name in ("source/cmd", "workspace/source", "results", *(f"tekton/{each}" for each in TEKTON)):
            (place / name).mkdir(parents=True)
        (place / "tekton/run/out").write_text("")
        (place / "secret/..2026_12_01").mkdir(parents=True)
        (place / "secret/..2026_12_01/token").write_text("token")
        (place / "secret/..data").symlink_to("..2026_12_01")
        (place / "secret/token").symlink_to("..data/token")
        (place / "termination-log").touch()
        os.chown(place / "workspace", -1, 4242)
        (place / "workspace").chmod(0o2777)
        (place / "source/go.mod").write_text("module\n")
        (place / "source/cmd/main.go").write_text("main\n")
        return pod

    @property
    def workspace(self) -> Path:
        return self.place / "workspace"

    def options(self) -> list[str]:
        service_account = "/var/run/secrets/kubernetes.io/serviceaccount"
        return [
            f"--volume={self.workspace}:/workspace",
            f"--volume={self.place}/source:/workspace/source",
            f"--volume={self.place}/results:/kaniko/results",
            f"--volume={self.place}/secret:{service_account}:ro",
            f"--volume={self.place}/termination-log:/dev/termination-log",
            *(f"--volume={self.place}/tekton/{each}:/tekton/{each}" for each in TEKTON),
        ]

    def arguments(self, name: str, *more: str) -> list[str]:
        return [
            "--context=/workspace/source",
            "--no-push",
            f"--oci-layout-path=/kaniko/results/{name}",
            "--digest-file=/tekton/results/IMAGE_DIGEST",
            f"--registry-map=docker.io={self.registry.host}",
            *more,
        ]

    def build(self, dockerfile: str, *more: str, name: str = "out") -> subprocess.CompletedProcess[str]:
        (self.place / "source/Dockerfile").write_text(dockerfile)
        return self.engine.run_to_end(IMAGE, self.arguments(name, *more), options=self.options())

    def image(self, dockerfile: str, *more: str, name: str = "out") -> FlatImage:
        done = self.build(dockerfile, *more, name=name)
        assert done.returncode == 0, done.stderr
        return flatten_layout(self.place / "results" / name)


@pytest.fixture
def pod(engine: Engine, base_registry: Registry, tmp_path: Path) -> Pod:
    return Pod.make(engine, base_registry, tmp_path)


def _names(place: Path) -> list[str]:
    return sorted(str(each.relative_to(place)) for each in place.rglob("*"))


def _looks(place: Path) -> tuple[int, int, int, int]:
    found = place.stat()
    return found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns


def _differences(pod: Pod, dockerfile: str, image: FlatImage, target: str) -> list[str]:
    """How an image's files differ from those of Docker's builder."""
    file = pod.place / "source/Dockerfile"
    archive = pod.place / "docker.tar"
    pod.engine.save(pod.engine.build(file.parent, file, target=target), archive)
    expected = flatten_docker_archive(archive)
    return compare(FlatImage(expected.files, image.config, expected.layer_files), image)


@pytest.mark.parametrize("target", ["small", "late"])
def test_the_image_is_dockers_and_the_volume_is_empty_again(pod: Pod, target: str) -> None:
    looks = _looks(pod.workspace)
    image = pod.image(KUBEBUILDER, f"--target={target}")
    assert _differences(pod, KUBEBUILDER, image, target) == []
    assert (_names(pod.workspace), _looks(pod.workspace)) == (["source"], looks)
    assert _names(pod.place / "source") == ["Dockerfile", "cmd", "cmd/main.go", "go.mod"]
    assert (pod.place / "tekton/results/IMAGE_DIGEST").read_text().startswith("sha256:")


def test_it_is_empty_after_a_step_that_fails(pod: Pod) -> None:
    done = pod.build(
        "FROM busybox\nWORKDIR /workspace\nCOPY . .\nRUN mkdir -p a/b && touch a/b/c && exit 3\n"
    )
    assert done.returncode == 3, done.stderr
    assert _names(pod.workspace) == ["source"]


ENDLESS = "FROM busybox\nWORKDIR /workspace\nRUN touch made; touch /kaniko/results/begun; sleep 1000\n"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_build_that_is_ended(pod: Pod, how: str) -> None:
    """After SIGTERM the volume is empty; after SIGKILL the next build says what is in it, and leaves it."""
    (pod.place / "source/Dockerfile").write_text(ENDLESS)
    environment = _client(pod.engine)
    name = f"ended-by-{how}"
    command = ["run", "--detach", f"--name={name}", "--network=host", *pod.options(), IMAGE]
    subprocess.run(
        [DOCKER, *command, *pod.arguments("out")], env=environment, check=True, capture_output=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (pod.place / "results/begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        subprocess.run([DOCKER, how, name], env=environment, check=True, capture_output=True)
    finally:
        subprocess.run([DOCKER, "rm", "--force", name], env=environment, check=True, capture_output=True)
    if how == "stop":
        assert _names(pod.workspace) == ["source"]
        return
    assert _names(pod.workspace) == ["made", "source"]
    done = pod.build(KUBEBUILDER)
    assert done.returncode == 8
    assert "a build that was killed has left files in it" in done.stderr
    assert _names(pod.workspace) == ["made", "source"]


def test_one_with_files_is_refused_and_left_as_it_is(pod: Pod) -> None:
    (pod.workspace / ".hidden").write_text("mine")
    before = look_at(pod.workspace)
    done = pod.build(KUBEBUILDER)
    assert done.returncode == 8
    assert "an empty volume would be used, but it holds .hidden" in done.stderr
    assert look_at(pod.workspace) == before


def test_a_memory_volume_and_an_umask(pod: Pod) -> None:
    """A tmpfs, as an emptyDir in memory is one; an umask that closes all."""
    (pod.place / "source/Dockerfile").write_text(KUBEBUILDER)
    options = [*pod.options()[2:], "--tmpfs=/workspace:exec", f"--volume={pod.place}/source:/kaniko/context"]
    build = " ".join(
        ["/kaniko/executor", *pod.arguments("out", "--target=late", "--context=/kaniko/context")]
    )
    script = f"umask 0077; {build} && find /workspace"
    done = pod.engine.run_to_end(IMAGE, ["-c", script], options=[*options, "--entrypoint=sh"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "/workspace"
    assert _differences(pod, KUBEBUILDER, flatten_layout(pod.place / "results/out"), "late") == []


def test_a_container_that_ends_is_not_cleared(pod: Pod, tmp_path: Path) -> None:
    """Its work directory goes with it; one on a volume would stay, and is removed."""
    (pod.place / "source/Dockerfile").write_text("FROM busybox\nRUN false\n")
    (tmp_path / "work").mkdir()
    environment = _client(pod.engine)
    for number, options in enumerate(([], [f"--volume={tmp_path}/work:/work", "--env=KNARR_DIR=/work"])):
        name = f"not-cleared-{number}"
        command = ["run", f"--name={name}", "--network=host", *pod.options(), *options, IMAGE]
        done = subprocess.run([DOCKER, *command, *pod.arguments("out")], env=environment, capture_output=True)
        changed = subprocess.run(
            [DOCKER, "diff", name], env=environment, check=True, capture_output=True, text=True
        ).stdout
        subprocess.run([DOCKER, "rm", "--force", name], env=environment, check=True, capture_output=True)
        assert done.returncode == 1, done.stderr
        assert ("/kaniko/knarr-" in changed) == (number == 0)
    assert _names(tmp_path / "work") == []


def _client(engine: Engine) -> Mapping[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(engine.directory),
        "DOCKER_HOST": engine.url,
    }
