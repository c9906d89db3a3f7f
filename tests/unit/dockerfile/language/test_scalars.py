"""Durations, ports, signals, numbers and paths as Go reads them."""

import json
from typing import Any

import pytest

from knarr.dockerfile.language.durations import format_duration, parse_duration_ns
from knarr.dockerfile.language.exposed import parse_ports
from knarr.dockerfile.language.mount import parse_size
from knarr.dockerfile.language.signals import check_signal
from knarr.dockerfile.syntax.text import base_name, clean_path
from knarr.errors import DockerfileError
from support.places import DATA

CASES: dict[str, Any] = json.loads((DATA / "dockerfile" / "scalars.json").read_text())


@pytest.mark.parametrize(("text", "expected", "shown"), CASES["durations"])
def test_duration(text: str, expected: int | str, shown: str | None) -> None:
    if isinstance(expected, str):
        with pytest.raises(DockerfileError, match=expected):
            parse_duration_ns(text)
    else:
        assert parse_duration_ns(text) == expected
        assert format_duration(expected) == shown


@pytest.mark.parametrize(("word", "expected"), CASES["ports"])
def test_ports(word: str, expected: list[str] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(DockerfileError) as caught:
            parse_ports([word])
        assert expected in caught.value.message
    else:
        assert list(parse_ports([word])) == expected


def test_too_many_ports() -> None:
    with pytest.raises(DockerfileError, match="more than"):
        parse_ports(["0-65535"] * 1000)


@pytest.mark.parametrize(("text", "valid"), CASES["signals"])
def test_signal(text: str, *, valid: bool) -> None:
    if valid:
        check_signal(text)
    else:
        with pytest.raises(DockerfileError, match="invalid signal"):
            check_signal(text)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("", "."),
        ("/", "/"),
        ("//a", "/a"),
        ("a//b/./c/..", "a/b"),
        ("/../a", "/a"),
        ("../a", "../a"),
        ("a/../..", ".."),
        ("a/", "a"),
    ],
)
def test_clean_path(path: str, clean: str) -> None:
    assert clean_path(path) == clean


@pytest.mark.parametrize(("path", "base"), [("", "."), ("/", "/"), ("a/b/", "b"), ("b", "b")])
def test_base_name(path: str, base: str) -> None:
    assert base_name(path) == base


@pytest.mark.parametrize("text", ["", "m", "-1", "1e3", "1mm", "9999999p", "0x10", "1  m"])
def test_bad_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)
