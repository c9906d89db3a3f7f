from collections.abc import Iterator

import pytest

from support.registry import Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An open registry on plain http."""
    started = Registry.start(tmp_path_factory.mktemp("plain"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry behind TLS of an own CA, with user and password."""
    started = Registry.start(tmp_path_factory.mktemp("locked"), auth=("sailor", "correct horse"), tls=True)
    yield started
    started.stop()
