"""Fixtures of the wrappers' tests: a company's registry, a project, the actions."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ci_tools import commit
from support.registry import Registry

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def company_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """It speaks TLS, and is registry.test to those who can find it."""
    registry = Registry.start(tmp_path_factory.mktemp("company"), tls=True)
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def actions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the actions alone: act copies all of it."""
    directory = tmp_path_factory.mktemp("actions")
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "github-actions", directory / "github-actions", ignore=leave)
    commit(directory)
    return directory


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / ".github/workflows").mkdir(parents=True)
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    (directory / "file").write_text("of the project\n")
    return directory
