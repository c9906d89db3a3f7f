"""Session fixtures of the whole-build tests: a registry holding the base images, a Docker engine."""

from collections.abc import Iterator

import pytest

from support.bases import USUAL, Base, base, cache_directory, push
from support.buildah_results import BuildahResults
from support.docker_engine import Engine
from support.docker_results import DockerResults
from support.registry import Registry


@pytest.fixture(scope="session")
def bases() -> list[Base]:
    """The base images on disk."""
    cache = cache_directory()
    return [base(name, cache) for name in USUAL]


@pytest.fixture(scope="session")
def base_registry(bases: list[Base], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that stands in for docker.io with the base images in it."""
    registry = Registry.start(tmp_path_factory.mktemp("registry"))
    try:
        push(bases, registry.host)
        yield registry
    finally:
        registry.stop()


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
