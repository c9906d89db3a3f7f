"""Patterns that leave files out: .dockerignore, --exclude.

moby's rules: the last pattern that matches decides, a match on a directory counts for what is below it, `!`
takes a match back.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from knarr.dockerfile.ignore.states import IgnoreState, first_state
from knarr.dockerfile.ignore.wildcards import Token, Wild, parse_glob
from knarr.dockerfile.syntax.text import BLANKS, clean_path
from knarr.errors import DockerfileError, SourceLocation

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """One pattern; `text` is cleaned, without the `!` that `includes` stands for."""

    text: str
    includes: bool
    tokens: tuple[Token, ...]

    @classmethod
    def parse(cls, text: str, *, includes: bool) -> "IgnorePattern":
        """Raises ValueError for a malformed pattern."""
        tokens = parse_glob(text, deep=True)
        if _is_suffix(text, tokens):
            tokens = (Wild.DEEP, Wild.MANY, *tokens[1:])
        return cls(text, includes, tokens)

    def may_match_below(self, directory: str) -> bool:
        """False only where no path below the directory can match."""
        count = next(
            (at for at, each in enumerate(self.tokens) if not isinstance(each, str)), len(self.tokens)
        )
        start = "".join(each for each in self.tokens[:count] if isinstance(each, str))
        inside = directory + "/"
        if start.startswith(inside):
            return True
        return count < len(self.tokens) and inside.startswith(start)


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

    @classmethod
    def only(cls, text: str) -> "IgnorePatterns":
        """Patterns that leave out all but what one pattern matches. Raises ValueError for a malformed one."""
        return cls((IgnorePattern.parse("**", includes=False), IgnorePattern.parse(text, includes=True)))

    def without(self, paths: Iterable[str]) -> "IgnorePatterns":
        """These patterns, and last ones that leave out paths as they are, with all that is below them."""
        literal = tuple(IgnorePattern(path, includes=False, tokens=tuple(path)) for path in paths)
        return IgnorePatterns((*self.patterns, *literal))

    def start(self) -> IgnoreState:
        """The state of the root, for a walk."""
        return first_state([(pattern.tokens, pattern.includes) for pattern in self.patterns])

    def excludes(self, path: str) -> bool:
        """Whether a path ("/"-separated, relative) is left out, by itself or with a directory above it."""
        return self.start().below(path).excluded


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


def _is_suffix(text: str, tokens: tuple[Token, ...]) -> bool:
    """Whether moby takes a pattern for the end of a path, whatever the slashes: `**x` matches `ax`."""
    is_literal = tokens[:1] == (Wild.DEEP,) and all(isinstance(token, str) for token in tokens[1:])
    return is_literal and not text.startswith("**/") and "*" not in text[2:] and "\\" not in text
