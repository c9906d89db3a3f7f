"""Word expansion against rows of data, and its limits."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.dockerfile.language.expand import (
    MAXIMUM_CHARACTERS,
    LexerRules,
    expand,
    expand_heredoc_body,
    expand_word,
    expand_words,
)
from knarr.errors import DockerfileError
from support.places import DATA

CASES: dict[str, Any] = json.loads((DATA / "dockerfile" / "expansion.json").read_text())
ENV: dict[str, str] = CASES["env"]


def check(give: Callable[[], object], expected: object) -> None:
    if isinstance(expected, dict):
        with pytest.raises(DockerfileError) as caught:
            give()
        assert expected["error"] in caught.value.message
    else:
        assert give() == expected


@pytest.mark.parametrize(("word", "expected"), CASES["rows"], ids=[row[0] for row in CASES["rows"]])
def test_word(word: str, expected: object) -> None:
    check(lambda: expand_word(word, ENV), expected)


@pytest.mark.parametrize(("word", "expected"), CASES["words"], ids=[row[0] for row in CASES["words"]])
def test_words(word: str, expected: object) -> None:
    check(lambda: expand_words(word, ENV), expected)


@pytest.mark.parametrize(("body", "expected"), CASES["heredoc_bodies"])
def test_heredoc_body(body: str, expected: object) -> None:
    check(lambda: expand_heredoc_body(body, ENV), expected)


@pytest.mark.parametrize(("word", "expected"), CASES["backtick_escape"])
def test_backtick_escape(word: str, expected: object) -> None:
    check(lambda: expand_word(word, ENV, escape="`"), expected)


def test_variables_that_were_named() -> None:
    expanded = expand("$A ${B:-$C} ${D+$E}", {"A": "", "D": "x", "E": "y"}, LexerRules())
    assert expanded.used == {"A", "D", "E"}
    assert expanded.missing == {"B", "C"}


@pytest.mark.parametrize("word", ["$U ${U} ${U:-x} ${U#p} ${U/a/b}", "'q' \"$U\" \\$x"])
def test_keeping_everything_changes_nothing(word: str) -> None:
    rules = LexerRules(keep_quotes=True, keep_escapes=True, keep_unset=True)
    assert expand(word, {}, rules).text == word


@pytest.mark.parametrize(
    "word",
    [
        "$V" * 20,
        "${V//a/" + "b" * 60000 + "}",
        "${X+$V.}" * 20,
        "${a:-" * 5000,
        "${a:-" * 5000 + "}" * 5000,
        '"${a:-' * 5000,
    ],
    ids=["repeated", "replaced", "unused results", "nested unclosed", "nested", "nested in quotes"],
)
def test_bombs_end_in_an_error(word: str) -> None:
    with pytest.raises(DockerfileError):
        expand_word(word, {"V": "a" * (MAXIMUM_CHARACTERS // 16), "X": ""})


@pytest.mark.parametrize(
    "word",
    [
        "${V##" + "*a" * 200 + "b}",
        "${V%%" + "b" + "a*" * 200 + "}",
        "${V//" + "*a?" * 200 + "b/x}",
        "${V#" + "?" * 400 + "b}",
    ],
)
def test_patterns_take_no_exponential_time(word: str) -> None:
    value = "a" * 20000
    start = time.monotonic()
    assert expand_word(word, {"V": value}) == value
    assert time.monotonic() - start < 2


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="$a{}:-+?#%/*\\'\" <\n", max_size=40), st.text(alphabet="a/*\n", max_size=8))
def test_any_word_expands_or_explains(word: str, value: str) -> None:
    try:
        expanded = expand_word(word, {"a": value})
    except DockerfileError:
        return
    words = expand_words(word, {"a": value})
    assert "".join("".join(words).split()) == "".join(expanded.split())
