"""Wildcards of file names, as Go's `filepath.Match` reads them.

Matching never takes exponential time: a star is tried from the left, and only the last one is ever widened.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Wild(enum.Enum):
    """What is not one particular character."""

    ONE = "?"
    """Any character but a slash."""
    MANY = "*"
    """Any number of characters, none a slash."""
    DEEP = "**/"
    """Nothing, or anything that ends in a slash."""
    REST = "**"
    """Anything at all; stands last."""


@dataclass(frozen=True, slots=True)
class CharacterClass:
    """`[a-z]` or `[^a-z]`; a slash may be in it."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def matches(self, character: str) -> bool:
        """Whether the character is in the class."""
        return any(low <= character <= high for low, high in self.ranges) != self.negated


Token = str | Wild | CharacterClass
"""A string is one literal character."""


def match_wildcard(pattern: str, name: str) -> bool:
    """Go's `filepath.Match`: the whole of `name`; raises ValueError for a malformed pattern."""
    return match_tokens(parse_glob(pattern, deep=False), name)


def has_wildcard(text: str) -> bool:
    r"""Whether `*`, `?` or `[` is in the text and not escaped with a backslash."""
    escaped = False
    for character in text:
        if not escaped and character in "*?[":
            return True
        escaped = character == "\\" and not escaped
    return False


def parse_glob(pattern: str, *, deep: bool) -> tuple[Token, ...]:
    """The tokens; with `deep`, `**` crosses slashes. Raises ValueError for a malformed pattern."""
    tokens: list[Token] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if deep and pattern.startswith("**", position):
            position += 3 if pattern.startswith("**/", position) else 2
            _append(tokens, Wild.DEEP if position < len(pattern) else Wild.REST)
        elif character == "[":
            parsed, position = _parse_class(pattern, position + 1)
            tokens.append(parsed)
        elif character == "\\":
            if position + 1 == len(pattern):
                raise ValueError(f"syntax error in pattern {pattern!r}: nothing follows the last backslash")
            tokens.append(pattern[position + 1])
            position += 2
        else:
            _append(tokens, {"*": Wild.MANY, "?": Wild.ONE}.get(character, character))
            position += 1
    return tuple(tokens)


def match_tokens(tokens: Sequence[Token], name: str) -> bool:
    """Whether `tokens`, none of them DEEP or REST, match the whole of `name`."""
    position = index = 0
    star: tuple[int, int] | None = None
    while position < len(name) or index < len(tokens):
        token = tokens[index] if index < len(tokens) else None
        if token is Wild.MANY:
            index += 1
            star = (index, position)
        elif token is not None and position < len(name) and matches_one(token, name[position]):
            index += 1
            position += 1
        elif star is not None and star[1] < len(name) and name[star[1]] != "/":
            star = (star[0], star[1] + 1)
            index, position = star
        else:
            return False
    return True


def matches_one(token: Token, character: str) -> bool:
    """Whether a token other than a star matches one character."""
    if isinstance(token, str):
        return token == character
    if isinstance(token, CharacterClass):
        return token.matches(character)
    return token is Wild.ONE and character != "/"


def _append(tokens: list[Token], token: Token) -> None:
    # Two stars of a kind in a row are one.
    if not (isinstance(token, Wild) and token is not Wild.ONE and tokens and tokens[-1] is token):
        tokens.append(token)


def _parse_class(pattern: str, position: int) -> tuple[CharacterClass, int]:
    negated = pattern.startswith("^", position)
    position += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", position)):
        low, position = _parse_class_character(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _parse_class_character(pattern, position + 1)
        ranges.append((low, high))
    return CharacterClass(tuple(ranges), negated), position + 1


def _parse_class_character(pattern: str, position: int) -> tuple[str, int]:
    escaped = pattern.startswith("\\", position)
    position += escaped
    character = pattern[position : position + 1]
    if not character or (not escaped and character in "-]"):
        raise ValueError(f"syntax error in pattern {pattern!r}: unfinished or malformed [class]")
    return character, position + 1
