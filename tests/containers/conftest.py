"""Session fixtures of the container tests alone: podman, a registry with TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.podman import Podman
from support.registry import Registry


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
