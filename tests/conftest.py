"""Fixtures of tests that build whole images or run the executor's, settings for all tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.bases import SMALL, USUAL, Base, base, cache_directory, push
from support.docker_engine import Engine
from support.flatten import FlatImage, flatten_layout
from support.namespace_results import NamespaceResults
from support.registry import Registry
from support.tiers import ALL, QUICK, SLOW, TIERS, is_in_tier, is_left_out

_REPOSITORY = Path(__file__).parents[1]
_FUZZ_EXAMPLES = 1000

# CI has the same examples in every run; `make fuzz` looks for new ones with `--hypothesis-profile=random`.
# No example has a time limit: a busy machine would fail it.
settings.register_profile("steady", derandomize=True, database=None, deadline=None)
settings.register_profile("random", max_examples=_FUZZ_EXAMPLES, deadline=None, print_blob=True)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier", choices=TIERS, default=ALL, help="run the tests of one tier (support/tiers.py)"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return is_left_out(collection_path, config.getoption("tier")) or None


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test the same in each worker: what gzip made has the time of making in it."""
    return "gzip" if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tier = config.getoption("tier")
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        markers = (marker.name for marker in item.iter_markers())
        (kept if is_in_tier(item.path, markers, tier) else left).append(item)
    items[:] = kept
    if left:
        config.hook.pytest_deselected(items=left)


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
def bases(pytestconfig: pytest.Config) -> list[Base]:
    """The base images on disk; only the rest has one whose packages must be fetched from Debian."""
    names = SMALL if pytestconfig.getoption("tier") in (QUICK, SLOW) else USUAL
    return [base(name, cache_directory()) for name in names]


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
