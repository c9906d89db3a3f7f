"""Go's filepath.Match."""

import json
import time

import pytest

from knarr.dockerfile.ignore.wildcards import has_wildcard, match_wildcard
from support.places import DATA

ROWS: list[tuple[str, str, bool | str]] = json.loads((DATA / "dockerfile" / "wildcards.json").read_text())


@pytest.mark.parametrize(("pattern", "name", "expected"), ROWS)
def test_match(pattern: str, name: str, expected: object) -> None:
    if expected == "error":
        with pytest.raises(ValueError, match="syntax error"):
            match_wildcard(pattern, name)
    else:
        assert match_wildcard(pattern, name) is expected


def test_no_exponential_time() -> None:
    start = time.monotonic()
    assert not match_wildcard("*a" * 100 + "b", "a" * 4000)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("text", "expected"), [("a", False), ("a*", True), ("a\\*", False), ("a\\\\*", True), ("[", True)]
)
def test_has_wildcard(text: str, *, expected: bool) -> None:
    assert has_wildcard(text) is expected
