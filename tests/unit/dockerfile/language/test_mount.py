"""Values of RUN --mount and --device."""

import dataclasses
import enum
import json
from typing import Any

import pytest

from knarr.dockerfile.language.expand import expand_word
from knarr.dockerfile.language.mount import mount_from, mount_target, parse_mount
from knarr.dockerfile.language.parse.commands import Device, parse_device
from knarr.errors import DockerfileError
from support.places import DATA

ROWS: list[tuple[str, Any]] = json.loads((DATA / "dockerfile" / "mounts.json").read_text())


def expand(word: str) -> str:
    return expand_word(word, {"USER": "me", "KIND": "tmpfs"})


@pytest.mark.parametrize(("text", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_mount(text: str, expected: Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(DockerfileError) as caught:
            parse_mount(text, expand)
        assert expected in caught.value.message
        return
    fields = dataclasses.asdict(parse_mount(text, expand))
    given = {key: value.value if isinstance(value, enum.Enum) else value for key, value in fields.items()}
    assert {key: given[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("target", "path"),
    [("", "/src"), (".", "/src"), ("./a/", "/src/a"), ("../b", "/b"), ("/c/../d", "/d"), ("a/..", "/src")],
)
def test_a_target_starts_at_the_working_directory(target: str, path: str) -> None:
    assert mount_target(target, "/src") == path


@pytest.mark.parametrize(
    ("target", "working_dir"), [("/", "/src"), ("..", "/src"), ("", "/"), ("/a/..", "/a")]
)
def test_the_root_is_no_target(target: str, working_dir: str) -> None:
    with pytest.raises(DockerfileError, match='invalid mount target "/"'):
        mount_target(target, working_dir)


def test_mount_from() -> None:
    assert mount_from("type=$T,from=base,target=$X") == "base"
    assert mount_from("target=/x") is None


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("vendor.com/gpu=all", Device("vendor.com/gpu=all")),
        ("name=a,required", Device("a", required=True)),
        ("a,required=false", Device("a")),
        ("required=1,a=b", Device("a=b", required=True)),
    ],
)
def test_device(text: str, device: Device) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["a,b", "a,name=b", "a,x=y", "a,required=maybe"])
def test_bad_device(text: str) -> None:
    with pytest.raises(DockerfileError):
        parse_device(text)
