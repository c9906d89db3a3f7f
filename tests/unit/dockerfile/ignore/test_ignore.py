""".dockerignore and --exclude patterns."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.errors import DockerfileError
from support.places import DATA

CASES: list[dict[str, Any]] = json.loads((DATA / "dockerfile" / "ignore.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[" | ".join(case["patterns"]) for case in CASES])
def test_patterns(case: dict[str, Any]) -> None:
    patterns = IgnorePatterns.parse("\n".join(case["patterns"]), file=".dockerignore")
    assert [path for path in case["excluded"] if not patterns.excludes(path)] == []
    assert [path for path in case["kept"] if patterns.excludes(path)] == []


def test_carriage_returns_and_byte_order_mark() -> None:
    patterns = IgnorePatterns.parse("\ufefffoo\r\n!foo/bar\r\n", file=".dockerignore")
    assert patterns.excludes("foo")
    assert not patterns.excludes("foo/bar")


@pytest.mark.parametrize("text", ["!", "! ", "a\n[", "x[b-", "a\\"])
def test_malformed(text: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        IgnorePatterns.parse(text, file=".dockerignore")
    assert caught.value.location is not None
    assert caught.value.location.line == text.count("\n") + 1


def test_flags_are_not_stripped_of_slashes() -> None:
    assert not IgnorePatterns.from_flags(["/a"]).excludes("a")
    assert IgnorePatterns.from_flags([" a/ ", "", "b"]).excludes("a")
    with pytest.raises(DockerfileError, match="--exclude"):
        IgnorePatterns.from_flags(["["])


@pytest.mark.parametrize(
    ("text", "directory", "expected"),
    [
        ("a", "a", False),
        ("a", "b", True),
        ("a\n!a/b", "a", True),
        ("a\n!a/b", "a/c", False),
        ("*\n!x/y/z", "x", True),
        ("*\n!x/y/z", "x/y", True),
        ("*\n!x/y/z", "w", False),
        ("*\n!x/*.c", "w", False),
        ("*\n!**/*.c", "w", True),
        ("*\n!x*", "w", False),
        ("a\n!b/**", "a", False),
    ],
)
def test_pruning(text: str, directory: str, *, expected: bool) -> None:
    state = IgnorePatterns.parse(text, file="x").start().below(directory)
    assert (not (state.excluded and state.is_settled)) is expected


PIECES = st.sampled_from(["a", "b", "*", "**", "a*", "?", "[ab]", "**b"])
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(PIECES, min_size=1, max_size=4).map("/".join)),
        min_size=1,
        max_size=4,
    ),
    PATHS,
)
def test_pruning_never_loses_a_path(patterns: list[tuple[bool, str]], path: str) -> None:
    ignore = IgnorePatterns.parse("\n".join("!" * includes + text for includes, text in patterns), file="x")
    if not ignore.excludes(path):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            state = ignore.start().below("/".join(parts[:depth]))
            assert not (state.excluded and state.is_settled)


@pytest.mark.parametrize(
    "pattern", ["**/" * 3000 + "x", "**/a" * 150 + "x", "*a" * 150 + "x", "**a*" * 100 + "x"]
)
def test_no_exponential_time(pattern: str) -> None:
    ignore = IgnorePatterns.parse(pattern, file="x")
    start = time.monotonic()
    assert not ignore.excludes("/".join(["a" * 50] * 40) + "y")
    assert time.monotonic() - start < 2
