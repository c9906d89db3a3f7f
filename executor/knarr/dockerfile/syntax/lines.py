"""Bytes of a Dockerfile to its logical lines.

A logical line is one instruction: its physical lines joined at the escape character, comments between them
dropped, with the heredocs it opens read whole. Section "Parser directives" and "Format" of the Dockerfile
reference.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from knarr.dockerfile.syntax.directives import Directives, check_escape, detect_directive, parse_directive
from knarr.dockerfile.syntax.heredocs import Heredoc, heredocs_in_line
from knarr.dockerfile.syntax.string_arrays import parse_string_array
from knarr.dockerfile.syntax.text import BLANKS
from knarr.dockerfile.syntax.words import split_instruction
from knarr.errors import DockerfileError, SourceLocation

MAXIMUM_LINE_BYTES = 65535

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HEREDOC_KEYWORDS = frozenset({"ADD", "COPY", "RUN"})
_UNDECODABLE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One instruction's text; lines count from 1, `end_line` includes continuations and heredocs.

    `text` is joined, without the blanks at either end; `original` is the physical lines as in the file.
    `comments` are the texts of the comments above, nearest last. `blank_continuation` is the line that the
    instruction's continuations end in, where one of them was empty: the line that BuildKit names.
    """

    file: str
    text: str
    start_line: int
    end_line: int
    original: str
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    blank_continuation: int | None = None

    def location(self, at: str | None = None) -> SourceLocation:
        """The place of the text `at`, or of the instruction where it can't be found in one physical line."""
        lines = self.original.split("\n")
        for number, line in enumerate(lines):
            column = line.find(at) if at else -1
            if column >= 0:
                return SourceLocation(self.file, self.start_line + number, _shown(line), column)
        column = len(lines[0]) - len(lines[0].lstrip(BLANKS))
        return SourceLocation(self.file, self.start_line, _shown(lines[0]), column)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A Dockerfile's directives and logical lines; `text` is the file, undecodable bytes as surrogates."""

    file: str
    text: str
    directives: Directives
    lines: tuple[LogicalLine, ...]


def read_lines(data: bytes, *, file: str) -> SourceFile:
    """Raises DockerfileError for an overlong line, a wrong directive, an unended heredoc, an empty file."""
    text = data.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "surrogateescape")
    reader = _Reader(text, file)
    lines = tuple(reader.read())
    if not lines:
        raise DockerfileError(
            f"{file}: file with no instructions", hint="the least is one line: FROM scratch"
        )
    directives = replace(
        reader.directives,
        syntax=_first_word(detect_directive("syntax", text, foreign=True)),
        check=detect_directive("check", text),
    )
    return SourceFile(file, text, directives, lines)


def _first_word(text: str | None) -> str | None:
    return text.partition(" ")[0] if text is not None else None


class _Reader:
    """Walks the physical lines once."""

    def __init__(self, text: str, file: str) -> None:
        self.directives = Directives()
        self._file = file
        # What follows the last newline is a line only where it is not empty.
        self._lines = text.split("\n")
        if not self._lines[-1]:
            self._lines.pop()
        self._next = 0
        self._seen: set[str] = set()
        self._in_directives = True
        self._comments: list[str] = []

    def read(self) -> Iterator[LogicalLine]:
        while self._next < len(self._lines):
            line = self._take().rstrip("\r").lstrip(BLANKS)
            if self._in_directives and self._read_directive(line):
                continue
            if line.startswith("#"):
                self._read_comment(line[1:].strip(BLANKS))
            elif line:
                yield self._read_instruction(line)
                self._comments.clear()

    def _take(self) -> str:
        line = self._lines[self._next]
        self._next += 1
        # A character is at most four bytes: most lines are seen to be short enough without encoding them.
        if (
            len(line) * 4 > MAXIMUM_LINE_BYTES
            and len(line.encode("utf-8", "surrogateescape")) > MAXIMUM_LINE_BYTES
        ):
            raise self._error(
                f"dockerfile line greater than max allowed size of {MAXIMUM_LINE_BYTES}", line[:80]
            )
        return line

    def _read_directive(self, line: str) -> bool:
        directive = parse_directive(line)
        if directive is None:
            self._in_directives = False
            return False
        key, value = directive
        if key in self._seen:
            raise self._error(f"only one {key} parser directive can be used", line)
        self._seen.add(key)
        if key == "escape":
            try:
                self.directives = replace(self.directives, escape=check_escape(value))
            except DockerfileError as error:
                raise self._error(error.message, line, hint=error.hint) from None
        return True

    def _read_comment(self, comment: str) -> None:
        if comment:
            self._comments.append(comment)
        else:
            self._comments.clear()

    def _read_instruction(self, line: str) -> LogicalLine:
        start = self._next
        part, continues = self._cut_continuation(line)
        parts = [part]
        blank = False
        while continues and self._next < len(self._lines):
            line = self._take().rstrip("\r")
            bare = line.lstrip(BLANKS)
            if not bare:
                blank = True
            elif not bare.startswith("#"):
                part, continues = self._cut_continuation(line)
                parts.append(part)
        logical = LogicalLine(
            file=self._file,
            text="".join(parts).strip(BLANKS),
            start_line=start,
            end_line=self._next,
            original=self._source(start),
            comments=tuple(self._comments),
            blank_continuation=self._next if blank else None,
        )
        return self._check_text(self._read_heredocs(logical))

    def _cut_continuation(self, line: str) -> tuple[str, bool]:
        """The line less its continuation character; a doubled one is none."""
        cut = line.rstrip(" \t")
        escape = self.directives.escape
        if cut.endswith(escape) and not cut.endswith(escape * 2):
            return cut[:-1], True
        return line, False

    def _read_heredocs(self, line: LogicalLine) -> LogicalLine:
        if not _can_hold_heredoc(line.text):
            return line
        heredocs = tuple(self._read_body(heredoc, line) for heredoc in heredocs_in_line(line.text))
        if not heredocs:
            return line
        return replace(line, heredocs=heredocs, end_line=self._next, original=self._source(line.start_line))

    def _read_body(self, heredoc: Heredoc, line: LogicalLine) -> Heredoc:
        first = self._next
        while self._next < len(self._lines):
            if heredoc.ends_at(self._take().rstrip("\r")):
                body = self._lines[first : self._next - 1]
                return heredoc.with_body("".join(f"{row}\n" for row in body))
        raise DockerfileError(
            "unterminated heredoc",
            location=line.location("<<"),
            hint=f"no line after it is exactly {heredoc.name!r}",
        )

    def _check_text(self, line: LogicalLine) -> LogicalLine:
        bad = _UNDECODABLE.search(line.text) or _UNDECODABLE.search("".join(h.body for h in line.heredocs))
        if bad is None:
            return line
        raise DockerfileError(
            f"byte 0x{ord(bad[0]) & 0xFF:02x} is not UTF-8",
            location=line.location(bad[0]),
            hint="an image config holds UTF-8 text alone: save the file as UTF-8",
        )

    def _source(self, start: int) -> str:
        return "\n".join(line.rstrip("\r") for line in self._lines[start - 1 : self._next])

    def _error(self, message: str, line: str, *, hint: str | None = None) -> DockerfileError:
        location = SourceLocation(self._file, self._next, _shown(line), 0)
        return DockerfileError(message, location=location, hint=hint)


def _shown(line: str) -> str:
    """A line that can be printed: bytes that are not UTF-8 replaced, one character each."""
    return _UNDECODABLE.sub("\ufffd", line)


def _can_hold_heredoc(text: str) -> bool:
    """RUN, COPY or ADD, also behind ONBUILD, and not in JSON form."""
    split = split_instruction(text)
    if split.keyword.upper() == "ONBUILD":
        split = split_instruction(split.arguments)
    if split.keyword.upper() not in _HEREDOC_KEYWORDS:
        return False
    try:
        return parse_string_array(split.arguments) is None
    except DockerfileError:
        return False
