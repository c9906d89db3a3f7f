r"""Patterns of `${v#p}`, `${v%p}` and `${v/p/r}`.

The language is BuildKit's: `*`, `?` and the escapes `\*`, `\?`, `\\`, `\/` and `\}`; there is no `[...]`. As
in Go's regular expressions, which BuildKit translates to, neither wildcard matches a newline. A pattern is
cut at its stars into segments of fixed length, and a segment is looked for once, from the left or from the
right: the time is at worst the product of pattern and value, never exponential.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ANY = ""
"""A token that matches one character; every other token is the character it matches."""

_TEMPLATE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


@dataclass(frozen=True, slots=True)
class ShellPattern:
    """A pattern as its star-separated segments; a segment is a tuple of tokens."""

    segments: tuple[tuple[str, ...], ...]

    @classmethod
    def parse(cls, text: str) -> "ShellPattern":
        """Raises ValueError for an escape the language does not have."""
        segments: list[list[str]] = [[]]
        characters = iter(text)
        for character in characters:
            if character == "*":
                segments.append([])
            elif character == "?":
                segments[-1].append(_ANY)
            elif character == "\\":
                segments[-1].append(_unescape(next(characters, "")))
            else:
                segments[-1].append(character)
        return cls(tuple(tuple(segment) for segment in segments))

    def without_prefix(self, value: str, *, longest: bool) -> str:
        """`value` less the shortest or longest prefix that matches; whole where none does."""
        line_end = _line_end(value, 0, across=self._has_newline())
        match = _Finder(self.segments).match_at(value, 0, line_end, longest=longest)
        return value if match is None else value[match:]

    def without_suffix(self, value: str, *, longest: bool) -> str:
        """`value` less the shortest or longest suffix that matches; whole where none does."""
        mirrored = tuple(segment[::-1] for segment in reversed(self.segments))
        return ShellPattern(mirrored).without_prefix(value[::-1], longest=longest)[::-1]

    def replace(self, value: str, replacement: str, *, every: bool, limit: int) -> str:
        """`value` with the first match, or every match, replaced; OverflowError beyond `limit` characters.

        The first match is replaced literally. Every match is replaced the way Go's `ReplaceAllString` does:
        `$0` in the replacement is the match, any other `$name` is empty, `$$` is `$`.
        """
        pieces: list[str] = []
        copied = room = 0
        for start, end in self._matches(value):
            pieces.append(value[copied:start])
            pieces.append(_fill(replacement, value[start:end]) if every else replacement)
            copied = end
            room += len(pieces[-1])
            if room > limit:
                raise OverflowError("the replaced text is too long")
            if not every:
                break
        return "".join(pieces) + value[copied:]

    def _matches(self, value: str) -> Iterator[tuple[int, int]]:
        """Non-overlapping matches from the left; an empty match right after another match does not count."""
        finder = _Finder(self.segments)
        across = self._has_newline()
        position, line_end, previous_end = 0, _line_end(value, 0, across=across), -1
        while position <= len(value):
            found = finder.search(value, position, line_end)
            if found is None:
                position = line_end + 1
                line_end = _line_end(value, position, across=across)
                continue
            start, end = found
            if start != end or start != previous_end:
                yield start, end
                previous_end = end
            position = end if end > start else end + 1
            if position > line_end:
                line_end = _line_end(value, position, across=across)

    def _has_newline(self) -> bool:
        return any("\n" in segment for segment in self.segments)


class _Finder:
    """The segments of a pattern, compiled to be found in a line from either side."""

    def __init__(self, segments: tuple[tuple[str, ...], ...]) -> None:
        self._first = _compile(segments[0])
        self._middle = [_compile(segment) for segment in segments[1:-1] if segment]
        self._last = segments[-1] if len(segments) > 1 else None

    def match_at(self, value: str, start: int, line_end: int, *, longest: bool) -> int | None:
        """The end of the match that begins at `start`, or None."""
        match = self._first.match(value, start, line_end)
        return None if match is None else self._match_rest(value, match.end(), line_end, longest=longest)

    def search(self, value: str, start: int, line_end: int) -> tuple[int, int] | None:
        """The leftmost match within the line, and of those the longest."""
        # When the rest can't follow the first place where the first segment is, it can't follow a later one.
        match = self._first.search(value, start, line_end)
        if match is None:
            return None
        end = self._match_rest(value, match.end(), line_end, longest=True)
        return None if end is None else (match.start(), end)

    def _match_rest(self, value: str, position: int, line_end: int, *, longest: bool) -> int | None:
        for segment in self._middle:
            match = segment.search(value, position, line_end)
            if match is None:
                return None
            position = match.end()
        if self._last is None:
            return position
        if not longest:
            match = _compile(self._last).search(value, position, line_end)
            return None if match is None else match.end()
        mirrored = _compile(self._last[::-1]).search(value[position:line_end][::-1])
        return None if mirrored is None else line_end - mirrored.start()


def _line_end(value: str, position: int, *, across: bool) -> int:
    """Where the wildcards stop: at a newline, unless the pattern itself has one."""
    end = -1 if across else value.find("\n", position)
    return len(value) if end < 0 else end


def _compile(segment: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("".join("." if token == _ANY else re.escape(token) for token in segment))


def _unescape(character: str) -> str:
    if character and character in "*?\\/}":
        return character
    raise ValueError(f"invalid escape '\\{character}'")


def _fill(template: str, match: str) -> str:
    def value(group: re.Match[str]) -> str:
        if group[1]:
            return "$"
        return match if (group[2] or group[3]) == "0" else ""

    return _TEMPLATE.sub(value, template)
