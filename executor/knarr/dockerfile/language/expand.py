"""Word expansion: quotes, escapes and variables in the arguments of instructions.

BuildKit's `shell/lex.go`: close to a POSIX shell, but not one. `$v` and `${v}` with the modifiers `-` `+` `?`
(each also with `:`), `#` `##` `%` `%%` and `/` `//`; the text of a modifier is expanded in turn. Special
parameters (`$1`, `$@`) are empty. Nothing is ever executed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from knarr.dockerfile.language.shell_pattern import ShellPattern
from knarr.dockerfile.syntax.text import BLANKS
from knarr.errors import DockerfileError

MAXIMUM_CHARACTERS = 16 * 1024 * 1024
"""The most that one expansion may produce, intermediate results counted: `ENV a=$a$a` doubles each time."""

MAXIMUM_DEPTH = 60
"""How deep `${a:-${b:-...}}` may nest."""

_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")
_HEREDOC_BLANKS = " \t\r\n"
_BLANK_RUN = re.compile(f"[{BLANKS}]+")


@dataclass(frozen=True, slots=True)
class Expanded:
    """A word after expansion; `used` and `missing` are the variables it named that were set, or not."""

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    missing: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LexerRules:
    """How a word is read; the defaults are those of instruction arguments.

    `keep_quotes` and `keep_escapes` leave them in the result; `quotes` False makes them ordinary characters;
    `keep_unset` leaves `$v` as written where `v` is not set.
    """

    escape: str = "\\"
    quotes: bool = True
    keep_quotes: bool = False
    keep_escapes: bool = False
    keep_unset: bool = False


def expand_word(word: str, env: Mapping[str, str], *, escape: str = "\\") -> str:
    """The word with quotes removed and variables replaced; raises DockerfileError without a location."""
    return expand(word, env, LexerRules(escape=escape)).text


def expand_words(word: str, env: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """As `expand_word`, then split at unquoted blanks, those from variables included (EXPOSE)."""
    return list(expand(word, env, LexerRules(escape=escape)).words)


def expand_heredoc_body(body: str, env: Mapping[str, str]) -> str:
    """A COPY or ADD heredoc's text: quotes stay; the escape is the backslash whatever the directive says."""
    return expand(body, env, LexerRules(quotes=False)).text


def expand(word: str, env: Mapping[str, str], rules: LexerRules) -> Expanded:
    """The word by any rules, with the variables it named; raises DockerfileError without a location."""
    lexer = _Lexer(word, env, rules)
    words = _Words()
    try:
        text = lexer.read(stop=None, keep_escapes=rules.keep_escapes, words=words)
    except _LexError as error:
        shown = word if len(word) <= 200 else word[:200] + "..."
        raise DockerfileError(f"failed to process {shown!r}: {error}") from None
    return Expanded(text, words.finish(), frozenset(lexer.used), frozenset(lexer.missing))


class _LexError(Exception):
    """A word that can't be expanded; becomes a DockerfileError at the module's edge."""


class _Words:
    """Collects characters into words, split at blanks that were neither quoted nor escaped."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        """Text whose blanks separate words."""
        first, *rest = _BLANK_RUN.split(text)
        self._parts.append(first)
        for part in rest:
            self._end_word()
            self._parts.append(part)

    def add_whole(self, text: str) -> None:
        """Text that belongs to one word, blanks and all."""
        self._parts.append(text)

    def finish(self) -> tuple[str, ...]:
        self._end_word()
        return tuple(self._done)

    def _end_word(self) -> None:
        word = "".join(self._parts)
        if word:
            self._done.append(word)
        self._parts.clear()


class _Lexer:
    """One pass over one word."""

    def __init__(self, source: str, env: Mapping[str, str], rules: LexerRules) -> None:
        self._source = source
        self._position = 0
        self._env = env
        self._rules = rules
        self._produced = 0
        self._depth = 0
        self.used: set[str] = set()
        self.missing: set[str] = set()
        quotes = "'\"" if rules.quotes else ""
        self._plain = re.compile(f"[^$<{re.escape(rules.escape)}{quotes}/}}]+")
        self._plain_in_quotes = re.compile(f'[^"${re.escape(rules.escape)}]+')

    def read(self, *, stop: str | None, keep_escapes: bool, words: _Words) -> str:
        """Everything up to `stop`, which is consumed, or to the end where it is None."""
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise _LexError(f"substitutions nest deeper than {MAXIMUM_DEPTH}")
        pieces: list[str] = []
        while self._position < len(self._source):
            character = self._source[self._position]
            if character == stop:
                self._position += 1
                self._depth -= 1
                return "".join(pieces)
            pieces.append(self._count(self._read_piece(character, keep_escapes=keep_escapes, words=words)))
        if stop is not None:
            raise _LexError(
                "syntax error: missing '/' in ${}" if stop == "/" else "syntax error: missing '}'"
            )
        self._depth -= 1
        return "".join(pieces)

    def _read_piece(self, character: str, *, keep_escapes: bool, words: _Words) -> str:
        if character == "$":
            piece = self._read_dollar(keep_escapes=keep_escapes)
            words.add(piece)
            return piece
        if character == self._rules.escape:
            piece = self._read_escape(keep_escapes=keep_escapes)
        elif character == "'" and self._rules.quotes:
            piece = self._read_single_quoted()
        elif character == '"' and self._rules.quotes:
            piece = self._read_double_quoted(keep_escapes=keep_escapes)
        elif character == "<":
            piece = self._read_heredoc_sign()
        else:
            piece = self._take(self._plain) or self._next()
            words.add(piece)
            return piece
        words.add_whole(piece)
        return piece

    def _read_escape(self, *, keep_escapes: bool) -> str:
        escape = self._next() if keep_escapes else self._next()[:0]
        return escape + self._next()

    def _read_single_quoted(self) -> str:
        end = self._source.find("'", self._position + 1)
        if end < 0:
            raise _LexError("unexpected end of statement while looking for matching single-quote")
        quoted = self._source[self._position : end + 1]
        self._position = end + 1
        return quoted if self._rules.keep_quotes else quoted[1:-1]

    def _read_double_quoted(self, *, keep_escapes: bool) -> str:
        self._position += 1
        pieces: list[str] = []
        while (character := self._peek()) != '"':
            if not character:
                raise _LexError("unexpected end of statement while looking for matching double-quote")
            if character == "$":
                piece = self._read_dollar(keep_escapes=keep_escapes)
            elif character == self._rules.escape:
                piece = self._read_quoted_escape(keep_escapes=keep_escapes)
            else:
                piece = self._take(self._plain_in_quotes) or self._next()
            pieces.append(self._count(piece))
        self._position += 1
        inside = "".join(pieces)
        return f'"{inside}"' if self._rules.keep_quotes else inside

    def _read_quoted_escape(self, *, keep_escapes: bool) -> str:
        escape = self._next()
        kept = escape if keep_escapes else ""
        following = self._peek()
        if not following:
            return kept
        if following in ('"', "$", escape):
            return kept + self._next()
        return kept + escape

    def _read_heredoc_sign(self) -> str:
        """`<<` with the blanks behind it, which belong to the heredoc's word; or a lone `<`."""
        start = self._position
        self._position += 1
        if self._peek() == "<":
            self._position += 1
            while (character := self._peek()) and character in _HEREDOC_BLANKS:
                self._position += 1
        return self._source[start : self._position]

    def _read_dollar(self, *, keep_escapes: bool) -> str:
        self._position += 1
        if self._peek() == "{":
            self._position += 1
            return self._read_braces()
        name = self._read_name()
        if not name:
            return "$"
        value = self._value(name)
        return f"${name}" if value is None and self._rules.keep_unset else value or ""

    def _read_braces(self) -> str:
        following = self._peek()
        if not following:
            raise _LexError("syntax error: missing '}'")
        if following in "{}:":
            raise _LexError("syntax error: bad substitution")
        name = self._read_name()
        operator = self._next()
        if not operator:
            raise _LexError("syntax error: missing '}'")
        if operator == "}":
            value = self._value(name)
            return f"${{{name}}}" if value is None and self._rules.keep_unset else value or ""
        if operator == "/":
            return self._replace(name)
        if operator == ":":
            operator += self._next()
        return self._modify(name, operator)

    def _modify(self, name: str, operator: str) -> str:
        modify = _MODIFIERS.get(operator)
        if modify is None and not operator.startswith(":"):
            raise _LexError(f"unsupported modifier ({operator}) in substitution")
        word = self.read(stop="}", keep_escapes=operator[-1:] in ("#", "%"), words=_Words())
        value = self._value(name)
        if value is None and self._rules.keep_unset:
            return f"${{{name}{operator}{word}}}"
        if modify is None:
            raise _LexError(f"unsupported modifier ({operator}) in substitution")
        if operator.startswith(":") and value == "":
            return modify(name, None, word, "is not allowed to be empty")
        return modify(name, value, word, "is not allowed to be unset")

    def _replace(self, name: str) -> str:
        every = self._peek() == "/"
        self._position += every
        pattern = self.read(stop="/", keep_escapes=True, words=_Words())
        replacement = self.read(stop="}", keep_escapes=True, words=_Words())
        value = self._value(name)
        if value is None and self._rules.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        parsed = _parse_pattern(pattern)
        try:
            return parsed.replace(value or "", replacement, every=every, limit=MAXIMUM_CHARACTERS)
        except OverflowError:
            raise _too_long() from None

    def _read_name(self) -> str:
        start = self._position
        first = self._peek()
        if first and (first.isdecimal() or first in _SPECIAL_PARAMETERS):
            self._position += 1
            while first.isdecimal() and self._peek().isdecimal():
                self._position += 1
            return self._source[start : self._position]
        while (character := self._peek()) and (
            character.isalpha() or character.isdecimal() or character == "_"
        ):
            self._position += 1
        return self._source[start : self._position]

    def _value(self, name: str) -> str | None:
        value = self._env.get(name)
        (self.missing if value is None else self.used).add(name)
        return value

    def _count(self, piece: str) -> str:
        self._produced += len(piece)
        if self._produced > MAXIMUM_CHARACTERS:
            raise _too_long()
        return piece

    def _peek(self) -> str:
        return self._source[self._position : self._position + 1]

    def _next(self) -> str:
        character = self._peek()
        self._position += 1
        return character

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._source, self._position)
        if match is None:
            return ""
        self._position = match.end()
        return match[0]


def _too_long() -> _LexError:
    return _LexError(f"the result is longer than {MAXIMUM_CHARACTERS} characters")


def _parse_pattern(text: str) -> ShellPattern:
    try:
        return ShellPattern.parse(text)
    except ValueError as error:
        raise _LexError(f"invalid pattern ({text}) in substitution: {error}") from None


def _default(name: str, value: str | None, word: str, complaint: str) -> str:
    return word if value is None else value


def _alternative(name: str, value: str | None, word: str, complaint: str) -> str:
    return "" if value is None else word


def _require(name: str, value: str | None, word: str, complaint: str) -> str:
    if value is None:
        raise _LexError(f"{name}: {word or complaint}")
    return value


def _trim_prefix(name: str, value: str | None, word: str, complaint: str) -> str:
    longest = word.startswith("#")
    return _parse_pattern(word[longest:]).without_prefix(value or "", longest=longest)


def _trim_suffix(name: str, value: str | None, word: str, complaint: str) -> str:
    longest = word.startswith("%")
    return _parse_pattern(word[longest:]).without_suffix(value or "", longest=longest)


_MODIFIERS: Mapping[str, Callable[[str, str | None, str, str], str]] = {
    "-": _default,
    ":-": _default,
    "+": _alternative,
    ":+": _alternative,
    "?": _require,
    ":?": _require,
    "#": _trim_prefix,
    "%": _trim_suffix,
}
