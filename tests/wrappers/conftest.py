"""Fixtures of the wrappers' tests: a registry with a certificate of a company's own."""

from collections.abc import Iterator

import pytest

from support.registry import Registry


@pytest.fixture(scope="session")
def company_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """It speaks TLS, and is registry.test to those who can find it."""
    registry = Registry.start(tmp_path_factory.mktemp("company"), tls=True)
    yield registry
    registry.stop()
