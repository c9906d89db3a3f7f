"""A directory to build in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.memory_registry import MemoryRegistry
from support.planned_builds import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.make(tmp_path)


@pytest.fixture
def memory() -> Iterator[MemoryRegistry]:
    with MemoryRegistry.started() as registry:
        yield registry
