"""Fixtures of the whole-build tests: other builders to compare with, builds as several users."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bases import Base, cache_directory
from support.buildah_results import BuildahResults
from support.builds_as import Builder
from support.docker_engine import Engine
from support.docker_results import DockerResults
from support.exec_request import Identity
from support.registry import Registry

ROOT = Identity("root", 0, 0)
USER = Identity("user", 1000, 1000)


@pytest.fixture(scope="session")
def docker_engine(base_registry: Registry) -> Iterator[Engine]:
    """A Docker engine whose docker.io is the registry of base images."""
    engine = Engine.start(base_registry.host)
    try:
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def docker_results(bases: list[Base], request: pytest.FixtureRequest) -> DockerResults:
    """What the Docker engine makes of a case; the engine is started when an outcome is not known yet."""
    return DockerResults(cache_directory(), tuple(bases), lambda: request.getfixturevalue("docker_engine"))


@pytest.fixture(scope="session")
def buildah_results(bases: list[Base], request: pytest.FixtureRequest) -> BuildahResults:
    """What buildah makes of a case; the registry is started when an outcome is not known yet."""

    def host() -> str:
        registry: Registry = request.getfixturevalue("base_registry")
        return registry.host

    return BuildahResults(cache_directory(), tuple(bases), host)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may pass through, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="knarr-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _make_builder(identity: Identity, place: Path, registry: Registry) -> Builder:
    builder = Builder(identity, place, registry.host, place / "work")
    for path in (builder.context, builder.work):
        path.mkdir()
    builder.own(place)
    return builder


@pytest.fixture(params=["root", "user", "scan"])
def builder(request: pytest.FixtureRequest, place: Path, base_registry: Registry) -> Iterator[Builder]:
    """Root with overlayfs, an ordinary user, root where overlayfs is refused: on top of an overlay."""
    builder = _make_builder(USER if request.param == "user" else ROOT, place, base_registry)
    if request.param != "scan":
        yield builder
        return
    parts = {name: place / f"overlay-{name}" for name in ("lower", "upper", "work")}
    for path in parts.values():
        path.mkdir()
    options = ",".join(f"{name}dir={path}" for name, path in parts.items())
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, builder.work], check=True)
    try:
        yield builder
    finally:
        subprocess.run(["umount", builder.work], check=True)


@pytest.fixture
def root_builder(place: Path, base_registry: Registry) -> Builder:
    """Root with overlayfs."""
    return _make_builder(ROOT, place, base_registry)
