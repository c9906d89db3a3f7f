"""Cutting a logical line: keyword, flags, arguments.

Quotes and escapes are honoured where BuildKit honours them. The words of ENV, LABEL and ARG keep their
quotes, which word expansion removes later; those of flags lose them here.
"""

from dataclasses import dataclass

from knarr.dockerfile.syntax.text import BLANKS, SEPARATOR


@dataclass(frozen=True, slots=True)
class SplitInstruction:
    """A keyword as written, the flags before the arguments (with their dashes), and the arguments' text."""

    keyword: str
    flags: tuple[str, ...]
    arguments: str


def split_instruction(text: str) -> SplitInstruction:
    """Never raises: any text has a keyword, if an empty one."""
    keyword, *rest = SEPARATOR.split(text.strip(BLANKS), maxsplit=1)
    flags, position = _split_flags(rest[0]) if rest else ((), 0)
    return SplitInstruction(keyword, flags, rest[0][position:].strip(BLANKS) if rest else "")


def split_words(text: str, escape: str) -> tuple[str, ...]:
    """Words separated by blanks outside quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == escape and quote != "'":
            if position < len(text):
                word.append(character + text[position])
                position += 1
        elif not quote and character in BLANKS:
            if word:
                words.append("".join(word))
                word.clear()
        else:
            word.append(character)
            if character == quote:
                quote = ""
            elif not quote and character in "'\"":
                quote = character
    if word:
        words.append("".join(word))
    return tuple(words)


def _split_flags(text: str) -> tuple[tuple[str, ...], int]:
    """The leading words that begin with `--`, unquoted, and where the arguments begin; a bare `--` ends."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position] in BLANKS:
            position += 1
        if not text.startswith("--", position):
            return tuple(flags), position
        flag, position = _read_flag(text, position)
        if flag == "--":
            return tuple(flags), position
        flags.append(flag)


def _read_flag(text: str, position: int) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while position < len(text):
        character = text[position]
        if not quote and character in BLANKS:
            break
        position += 1
        # The backslash, whatever the escape directive says.
        if character == "\\":
            word.append(text[position : position + 1])
            position += 1
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        else:
            word.append(character)
    return "".join(word), position
