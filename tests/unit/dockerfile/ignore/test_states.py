"""Ignore patterns as a walk asks them, against moby's rules written down plainly."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from knarr.dockerfile.ignore import states
from knarr.dockerfile.ignore.patterns import IgnorePatterns

LITERALS = ["a", "b", "ab", "ba", "a.b", "a/b", "b/a/ab"]
PIECES = st.sampled_from(
    [
        "a",
        "b",
        "*",
        "**",
        "a*",
        "*b",
        "*a*b*",
        "?",
        "[ab]",
        "[^a]",
        "[!-0]",
        "**b",
        "a**",
        "a**b",
        "\\a",
        "[b-a]",
    ]
)
PATTERNS = st.lists(
    st.tuples(
        st.booleans(),
        st.one_of(st.sampled_from(LITERALS), st.lists(PIECES, min_size=1, max_size=4).map("/".join)),
    ),
    min_size=1,
    max_size=6,
)
NAMES = st.sampled_from(["a", "b", "ab", "ba", "a.b", "aab", "x"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
Patterns = Sequence[tuple[bool, str]]


def moby_matches(pattern: str, path: str) -> bool:
    """One pattern on one path, as moby's patternmatcher compiles it."""
    kind, regex, position, number = "exact", "", 0, 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if pattern.startswith("**", position - 1):
            position += 1
            position += pattern.startswith("/", position)
            if position == len(pattern):
                kind, regex = ("prefix", regex) if kind == "exact" else ("regex", regex + ".*")
            else:
                kind, regex = "regex", regex + "(.*/)?"
            kind = "suffix" if number == 0 else kind
        elif character in "*?":
            kind, regex = "regex", regex + ("[^/]*" if character == "*" else "[^/]")
        elif character == "\\":
            kind, regex = "regex", regex + re.escape(pattern[position])
            position += 1
        elif character == "[":
            end = pattern.index("]", position)
            inside = pattern[position:end].replace("!", r"\!")
            kind, regex = "regex", regex + ("(?!)" if inside == "b-a" else f"[{inside}]")
            position = end + 1
        else:
            regex += re.escape(character)
        number += 1
    if kind == "exact":
        return path == pattern
    if kind == "prefix":
        return path.startswith(pattern[:-2])
    if kind == "suffix":
        suffix = pattern[2:]
        return path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])
    return re.fullmatch(regex, path, re.DOTALL) is not None


def moby_excludes(patterns: Patterns, path: str) -> bool:
    """MatchesUsingParentResults of each directory on the way, then of the path."""
    parts = path.split("/")
    above = [False] * len(patterns)
    excluded = False
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth])
        excluded, matched = False, [False] * len(patterns)
        for number, (includes, text) in enumerate(patterns):
            if not above[number] and includes != excluded:
                continue
            if above[number] or moby_matches(text, here):
                matched[number], excluded = True, not includes
        above = matched
    return excluded


def ignore(patterns: Patterns) -> IgnorePatterns:
    return IgnorePatterns.parse("\n".join("!" * includes + text for includes, text in patterns), file="x")


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.lists(PATHS, min_size=1, max_size=8))
@example([(False, "a*"), (True, "**/b"), (False, "ab")], ["ab/b"])
def test_as_moby_decides(patterns: Patterns, paths: Sequence[str]) -> None:
    start = ignore(patterns).start()
    cleaned = [(pattern.includes, pattern.text) for pattern in ignore(patterns).patterns]
    for path in paths:
        state = start
        parts = path.split("/")
        for depth, name in enumerate(parts, start=1):
            state = state.into(name)
            expected = moby_excludes(cleaned, "/".join(parts[:depth]))
            assert state.excluded is expected, "/".join(parts[:depth])
            if state.is_settled:
                assert moby_excludes(cleaned, path) is expected


@pytest.mark.parametrize(
    ("text", "directory", "excluded", "is_settled"),
    [
        ("a", "a", True, True),
        ("a", "b", False, True),
        ("**/a", "b", False, False),
        ("!**/keep\nnode_modules", "node_modules", True, True),
        ("node_modules\n!**/keep", "node_modules", True, False),
        ("docs/**", "docs", False, False),
        ("docs/**", "docs/x", True, True),
        ("a/*/c", "a/b", False, False),
        ("a/*/c", "a/b/d", False, True),
    ],
)
def test_settled(text: str, directory: str, *, excluded: bool, is_settled: bool) -> None:
    state = IgnorePatterns.parse(text, file="x").start().below(directory)
    assert (state.excluded, state.is_settled) == (excluded, is_settled)


def test_a_pattern_is_looked_at_once_for_all_directories_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of a name must not grow with the number of patterns, nor a directory's."""
    tables, follows = [], []
    table, machine = states._NameTable, states._Machine

    class Table(table):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: object) -> None:
            tables.append(self)
            super().__init__(*arguments)

    class Machine(machine):  # type: ignore[misc, valid-type]
        def follow(self, *arguments: object, **named: object) -> object:
            follows.append(arguments)
            return super().follow(*arguments, **named)

    monkeypatch.setattr(states, "_NameTable", Table)
    monkeypatch.setattr(states, "_Machine", Machine)
    patterns = [f"build{number}" for number in range(20)] + [f"**/cache{number}" for number in range(20)]
    patterns += ["*.log", "**/*.o", "**/.#*", "src/*/gen", "!keep", "!**/keep", "out", "!out/keep"]
    start = IgnorePatterns.parse("\n".join(patterns), file="x").start()
    for directory in range(500):
        state = start.into(f"pkg{directory}").into("sub")
        assert not any(state.into(f"file{number}.c").excluded for number in range(20))
    assert start.below("pkg1/a.o").excluded
    assert len(tables) == 2, "of the root, and of what is below it"
    assert len(follows) == 3, "of nothing in each of them, and of one that matches"
