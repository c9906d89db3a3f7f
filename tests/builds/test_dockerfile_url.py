"""A Dockerfile that is downloaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.builds import Builds, check_explained
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry import Registry

pytestmark = pytest.mark.registry


def _answer(asked: Asked) -> Answer:
    return (
        Answer(200, b"FROM scratch\nCOPY a /a\nCOPY b /b\n")
        if asked.path == "/app/Dockerfile?x=1"
        else Answer(404)
    )


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry(_answer) as server:
        yield server


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def test_it_is_built_with_the_context(builds: Builds, server: FaultyRegistry) -> None:
    files = {"a": "1", "b": "2", ".dockerignore": "c"}
    name = builds.name("url/app:1")
    builds.build("FROM gone\n", "-f", f"http://{server.host}/app/Dockerfile?x=1", "-d", name, files=files)
    assert server.lines == ["GET /app/Dockerfile?x=1"]
    assert len(builds.manifest("url/app", "1")["layers"]) == 2


def test_it_is_not_there(builds: Builds, server: FaultyRegistry) -> None:
    result = builds.build("FROM gone\n", "-f", f"http://{server.host}/gone", "--no-push", status=4)
    assert "404" in result.explanation


def test_another_kind_of_place(builds: Builds) -> None:
    result = builds.build("FROM gone\n", "-f", "ftp://example.com/Dockerfile", "--no-push", status=2)
    check_explained(result, "no such kind of place")
