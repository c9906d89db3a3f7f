"""Patterns that leave files out: .dockerignore, --exclude.

moby's rules: the last pattern that matches decides, a match on a directory counts for what is below it, `!`
takes a match back. Every pattern becomes either a comparison of text, a regular expression with two stars at
most, or a simulation that reads the path once; none can take exponential time.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from knarr.dockerfile.ignore.wildcards import CharacterClass, Token, Wild, matches_one, parse_glob
from knarr.dockerfile.syntax.text import BLANKS, clean_path
from knarr.errors import DockerfileError, SourceLocation

_MOST_STARS_IN_REGEX = 2
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a path is excluded, and which patterns match it or a directory above it (a bit each)."""

    excluded: bool
    matched: int


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """One pattern; `text` is cleaned, without the `!` that `includes` stands for."""

    text: str
    includes: bool
    literal_start: str
    is_literal: bool
    matches: Callable[[str], bool]

    @classmethod
    def parse(cls, text: str, *, includes: bool) -> "IgnorePattern":
        """Raises ValueError for a malformed pattern."""
        tokens = parse_glob(text, deep=True)
        start = 0
        while start < len(tokens) and isinstance(tokens[start], str):
            start += 1
        literal = "".join(token for token in tokens[:start] if isinstance(token, str))
        return cls(text, includes, literal, start == len(tokens), _matcher(text, tokens))

    def may_match_below(self, directory: str) -> bool:
        """False only where no path below the directory can match."""
        inside = directory + "/"
        if self.literal_start.startswith(inside):
            return True
        return not self.is_literal and inside.startswith(self.literal_start)


@dataclass(frozen=True, slots=True)
class IgnorePatterns:
    """A list of patterns in order."""

    patterns: tuple[IgnorePattern, ...] = ()

    @classmethod
    def parse(cls, text: str, *, file: str) -> "IgnorePatterns":
        """A .dockerignore file: a pattern a line, `#` in column 0 for comments, a leading `/` dropped.

        Raises DockerfileError.
        """
        patterns: list[IgnorePattern] = []
        for number, line in enumerate(text.removeprefix(_BYTE_ORDER_MARK).split("\n"), start=1):
            if line.startswith("#"):
                continue
            try:
                patterns.extend(_parse_patterns([_normalize(line)]))
            except ValueError as error:
                location = SourceLocation(file, number, line, 0)
                raise DockerfileError(f"{file}: {error}", location=location) from None
        return cls(tuple(patterns))

    @classmethod
    def from_flags(cls, values: Iterable[str]) -> "IgnorePatterns":
        """The values of --exclude; raises DockerfileError without a location."""
        try:
            return cls(tuple(_parse_patterns(values)))
        except ValueError as error:
            raise DockerfileError(f"--exclude: {error}") from None

    def decide(self, path: str, above: Decision | None = None) -> Decision:
        """For a walk from the root; `above` is the decision on the directory, None at the root."""
        inherited = above.matched if above is not None else 0
        excluded = False
        matched = 0
        for number, pattern in enumerate(self.patterns):
            bit = 1 << number
            # A pattern that would change nothing is not asked; as in moby, it is not passed down either.
            if not inherited & bit and (pattern.includes != excluded or not pattern.matches(path)):
                continue
            matched |= bit
            excluded = not pattern.includes
        return Decision(excluded, matched)

    def excludes(self, path: str) -> bool:
        """Whether a path ("/"-separated, relative) is left out, by itself or with a directory above it."""
        decision: Decision | None = None
        position = 0
        while position >= 0:
            position = path.find("/", position + 1)
            decision = self.decide(path if position < 0 else path[:position], decision)
        return decision is not None and decision.excluded

    def may_include_below(self, directory: str) -> bool:
        """False only where the directory is excluded, and everything below it too: a walk can skip it."""
        if not self.excludes(directory):
            return True
        return any(pattern.includes and pattern.may_match_below(directory) for pattern in self.patterns)


def _normalize(line: str) -> str:
    """What moby makes of a line before the patterns are parsed."""
    pattern = line.strip(BLANKS)
    mark = "!" if pattern.startswith("!") else ""
    pattern = pattern.removeprefix("!").strip(BLANKS)
    if not pattern:
        return mark
    pattern = clean_path(pattern)
    return mark + (pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern)


def _parse_patterns(texts: Iterable[str]) -> Iterable[IgnorePattern]:
    for text in texts:
        pattern = text.strip(BLANKS)
        if not pattern:
            continue
        pattern = clean_path(pattern)
        if pattern == "!":
            raise ValueError('illegal exclusion pattern: "!"')
        includes = pattern.startswith("!")
        yield IgnorePattern.parse(pattern.removeprefix("!") if includes else pattern, includes=includes)


def _matcher(text: str, tokens: tuple[Token, ...]) -> Callable[[str], bool]:
    """The cheapest way to match; the forms with `**` at one end alone mean text, whatever the slashes."""
    if all(isinstance(token, str) for token in tokens):
        return "".join(token for token in tokens if isinstance(token, str)).__eq__
    if tokens == (Wild.REST,):
        return _matches_all
    middle = "".join(token for token in tokens if isinstance(token, str))
    if tokens[-1] is Wild.REST and len(middle) == len(tokens) - 1 and "\\" not in text:
        return _prefix_matcher(middle)
    if tokens[0] is Wild.DEEP and len(middle) == len(tokens) - 1 and "*" not in text[2:] and "\\" not in text:
        return _suffix_matcher(text[2:])
    stars = sum(token in (Wild.MANY, Wild.DEEP, Wild.REST) for token in tokens if isinstance(token, Wild))
    if stars <= _MOST_STARS_IN_REGEX:
        return _regex_matcher(tokens)
    return _Simulation(tokens).matches


def _matches_all(path: str) -> bool:
    return True


def _prefix_matcher(prefix: str) -> Callable[[str], bool]:
    def matches(path: str) -> bool:
        return path.startswith(prefix)

    return matches


def _suffix_matcher(suffix: str) -> Callable[[str], bool]:
    def matches(path: str) -> bool:
        return path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])

    return matches


def _regex_matcher(tokens: tuple[Token, ...]) -> Callable[[str], bool]:
    fullmatch = re.compile("".join(_regex(token) for token in tokens), re.DOTALL).fullmatch

    def matches(path: str) -> bool:
        return fullmatch(path) is not None

    return matches


def _regex(token: Token) -> str:
    if isinstance(token, str):
        return re.escape(token)
    if isinstance(token, CharacterClass):
        inside = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in token.ranges if low <= high)
        if not inside:
            return "." if token.negated else "(?!)"
        return f"[{'^' if token.negated else ''}{inside}]"
    return {Wild.ONE: "[^/]", Wild.MANY: "[^/]*", Wild.DEEP: "(?:.*/)?", Wild.REST: ".*"}[token]


class _Simulation:
    """A pattern of many stars as a set of states, one bit a token; a path is read once, left to right."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = tokens
        self._stays = self._deep = self._skips = 0
        for number, token in enumerate(tokens):
            bit = 1 << number
            if token in (Wild.DEEP, Wild.REST):
                self._deep |= bit
            elif token is Wild.MANY:
                self._stays |= bit
            if isinstance(token, Wild) and token is not Wild.ONE:
                self._skips |= bit
        self._steps: dict[str, int] = {}

    def matches(self, path: str) -> bool:
        """Whether the whole path matches."""
        # `inside` are the `**/` that have begun to match something: those go on only from a slash.
        states, inside = self._close(1), 0
        for character in path:
            inside |= states & self._deep
            stepped = (states & self._step(character)) << 1
            if character != "/":
                stepped |= states & self._stays
            else:
                stepped |= inside << 1
            states = self._close(stepped)
        accepted = 1 << len(self._tokens)
        if self._tokens[-1] is Wild.REST and (states | inside) & accepted >> 1:
            return True
        return bool(states & accepted)

    def _step(self, character: str) -> int:
        """The tokens that this one character satisfies."""
        step = self._steps.get(character)
        if step is None:
            step = 0
            for number, token in enumerate(self._tokens):
                if matches_one(token, character):
                    step |= 1 << number
            self._steps[character] = step
        return step

    def _close(self, states: int) -> int:
        """With the stars that may match nothing skipped."""
        while (more := states | (states & self._skips) << 1) != states:
            states = more
        return states
