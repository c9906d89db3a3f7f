"""Fixtures of the container tests alone: podman, a registry with TLS, a runner of Tekton's Tasks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts.bump_image import image_name

from support.bases import base, cache_directory, push
from support.docker_engine import Engine
from support.pipelinerun import PipelineRunner
from support.podman import Podman
from support.registry import Registry
from support.taskrun import TaskRunner, load_task
from support.tekton_files import TASKS


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that speaks TLS, with a certificate for registry.test too."""
    registry = Registry.start(tmp_path_factory.mktemp("tls-registry"), tls=True)
    yield registry
    registry.stop()


@pytest.fixture(scope="session")
def podman(archives: Path) -> Iterator[Podman]:
    """A podman that has the executor's image."""
    podman = Podman.make()
    try:
        podman.load(archives / "executor.tar")
        yield podman
    finally:
        podman.close()


@pytest.fixture(scope="session")
def tools(base_registry: Registry) -> None:
    """The images with git and rclone, and of two platforms, where the engine pulls from."""
    push((base(name, cache_directory()) for name in ("tools", "multiarch")), base_registry.host)


@pytest.fixture
def runner(engine: Engine, tmp_path: Path) -> TaskRunner:
    """Runs Tekton's Tasks with the executor's image, and `tools` for what fetches."""
    fetching = load_task(TASKS / "knarr-context/0.1/knarr-context.yaml")["params"]
    names = [each["default"] for each in fetching if each["name"] in ("GIT_IMAGE", "RCLONE_IMAGE")]
    images = {image_name(): "knarr/executor:debug", **dict.fromkeys(names, "tools")}
    return TaskRunner(engine, tmp_path / "run", images, ["--add-host=registry.test:127.0.0.1"])


@pytest.fixture
def pipelines(runner: TaskRunner, tools: None, tmp_path: Path) -> PipelineRunner:
    """Runs Tekton's Pipelines, all pods on one node."""
    return PipelineRunner({"": runner}, tmp_path / "pods")
