"""Fixtures of tests that build whole images or run the executor's, settings for all tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.bases import USUAL, Base, base, cache_directory, push
from support.docker_engine import Engine
from support.flatten import FlatImage, flatten_layout
from support.namespace_results import NamespaceResults
from support.registry import Registry

_REPOSITORY = Path(__file__).parents[1]

# The same examples in every run: a new one is found by those who look for it, with --hypothesis-seed.
settings.register_profile("steady", derandomize=True, database=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the images' archives, made anew from the sources; downloads are kept."""
    output = tmp_path_factory.mktemp("images")
    command = [sys.executable, "-m", "scripts.image", f"--output={output}"]
    downloads = f"--downloads={cache_directory()}/image-downloads"
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY / "executor")}
    subprocess.run(
        [*command, downloads], check=True, cwd=_REPOSITORY, env=environment, stdin=subprocess.DEVNULL
    )
    return output


@pytest.fixture(scope="session")
def bases() -> list[Base]:
    """The base images on disk."""
    cache = cache_directory()
    return [base(name, cache) for name in USUAL]


@pytest.fixture(scope="session")
def flat_bases(bases: list[Base]) -> dict[str, FlatImage]:
    """The base images that expectations are written against, by name; `scratch` is nothing."""
    flat = {
        base.name: flatten_layout(base.layout) for base in bases if base.name in ("busybox", "fullconfig")
    }
    return {**flat, "scratch": FlatImage({}, {}, ())}


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
def namespace_results(base_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> NamespaceResults:
    """What this machine's `knarr build` makes of whole-build cases, each built once."""
    return NamespaceResults(base_registry, tmp_path_factory.mktemp("namespace"))


@pytest.fixture(scope="session")
def engine(archives: Path, base_registry: Registry) -> Iterator[Engine]:
    """A Docker engine that has the images; its docker.io is the registry of base images."""
    engine = Engine.start(base_registry.host)
    try:
        for archive in archives.glob("*.tar"):
            engine.load(archive)
        yield engine
    finally:
        engine.stop()
