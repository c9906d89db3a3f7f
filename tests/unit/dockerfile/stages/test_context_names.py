"""Names of named contexts."""

import pytest

from knarr.dockerfile.stages.context_names import context_name, find_context


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("alpine", "alpine"),
        ("alpine:latest", "alpine"),
        ("docker.io/library/alpine", "alpine"),
        ("index.docker.io/library/alpine:3.20", "alpine:3.20"),
        ("docker.io/user/image:latest", "user/image"),
        ("ghcr.io/a/b:latest", "ghcr.io/a/b"),
        ("alpine@sha256:" + "0" * 64, "alpine@sha256:" + "0" * 64),
        ("my_stage", "my_stage"),
        ("Stage.", "stage."),
        ("NotAnImage", "notanimage"),
    ],
)
def test_normal_form(text: str, name: str) -> None:
    assert context_name(text) == name


def test_find() -> None:
    assert find_context("Docker.IO/library/alpine", frozenset({"alpine"})) == "alpine"
    assert find_context("alpine:3", frozenset({"alpine"})) is None
    assert find_context("alpine", ()) is None
