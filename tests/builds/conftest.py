"""Session fixtures of the whole-build tests: other builders to compare with."""

from collections.abc import Iterator

import pytest

from support.bases import Base, cache_directory
from support.buildah_results import BuildahResults
from support.docker_engine import Engine
from support.docker_results import DockerResults
from support.registry import Registry


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
