"""Heredoc words such as `<<EOF`, `3<<-'EOF'`.

A heredoc's word is found after shell-like splitting of the whole line, so that `"<<EOF"` in quotes is none,
and `<< EOF` with a blank is one. Any quoting in the delimiter means that the body is taken literally.
"""

import re
from dataclasses import dataclass, replace

from knarr.dockerfile.language.expand import LexerRules, expand
from knarr.errors import DockerfileError

_WORD = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)

_LINE_RULES = LexerRules(keep_quotes=True, keep_escapes=True, keep_unset=True)
_NAME_RULES = LexerRules(keep_unset=True)
_QUOTED_NAME_RULES = LexerRules(keep_unset=True, keep_quotes=True)


@dataclass(frozen=True, slots=True)
class Heredoc:
    """One heredoc; `body` is as in the file, leading tabs included, and ends with a newline unless empty.

    `expand` False: some part of the delimiter was quoted. `strip_tabs`: written `<<-`. `descriptor` is the
    number before `<<`, 0 where there is none.
    """

    name: str
    expand: bool
    strip_tabs: bool
    descriptor: int
    body: str = ""

    def with_body(self, body: str) -> "Heredoc":
        """The same heredoc with the text that was read for it."""
        return replace(self, body=body)

    def ends_at(self, line: str) -> bool:
        """Whether a physical line, its line end removed, is the terminator."""
        return (line.lstrip("\t") if self.strip_tabs else line) == self.name

    @property
    def text(self) -> str:
        """The body with the leading tabs of every line gone where `<<-` asks for it."""
        return _LEADING_TABS.sub("", self.body) if self.strip_tabs else self.body


def heredocs_in_line(line: str) -> tuple[Heredoc, ...]:
    """The heredocs a logical line opens, in order, their bodies still empty.

    A line whose quotes do not pair has none: the shell will complain about it, if it is one's business.
    """
    if "<<" not in line:
        return ()
    try:
        words = expand(line, {}, _LINE_RULES).words
    except DockerfileError:
        return ()
    return tuple(heredoc for word in words if (heredoc := parse_heredoc_word(word)) is not None)


def parse_heredoc_word(word: str) -> Heredoc | None:
    """The heredoc that one word opens, or None."""
    match = _WORD.fullmatch(word)
    if match is None or not match[3]:
        return None
    try:
        names = expand(match[3], {}, _NAME_RULES).words
        quoted_names = expand(match[3], {}, _QUOTED_NAME_RULES).words
    except DockerfileError:
        return None
    if len(names) != 1 or len(quoted_names) != 1:
        return None
    # An escaped quote stays in both readings; one that quotes stays in the second alone.
    return Heredoc(
        name=names[0],
        expand=_count_quotes(names[0]) == _count_quotes(quoted_names[0]),
        strip_tabs=match[2] == "-",
        descriptor=int(match[1][:9] or "0"),
    )


def _count_quotes(text: str) -> int:
    return text.count("'") + text.count('"')
