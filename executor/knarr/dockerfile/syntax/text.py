"""Text as Go's standard library sees it.

BuildKit is written in Go, so what counts as a blank, a digit or a clean path in a Dockerfile is what Go's
`unicode`, `strconv` and `path` packages say. Python's own notions differ in small ways (`str.isspace` has
four more control characters, `posixpath.normpath` keeps a leading `//`).
"""

import re

BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""`unicode.IsSpace`."""

SEPARATOR = re.compile(r"[\t\v\f\r ]+")
"""What separates an instruction from its arguments, and those from each other."""

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_ATOI = re.compile(r"[+-]?[0-9]{1,18}")


def split_blanks(text: str) -> tuple[str, ...]:
    """The words of `text`; quotes mean nothing here. Empty text has no words."""
    return tuple(SEPARATOR.split(text)) if text else ()


def parse_bool(text: str) -> bool:
    """`strconv.ParseBool`; raises ValueError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"not a boolean: {text!r}")


def parse_index(text: str) -> int | None:
    """`strconv.Atoi`, or None where the text is no number."""
    return int(text) if _ATOI.fullmatch(text) else None


def parse_unsigned(text: str, *, base: int, bits: int) -> int:
    """`strconv.ParseUint`: digits alone, no sign, prefix or underscore; raises ValueError."""
    digits = "01234567" if base == 8 else "0123456789"
    if not text or len(text) > 32 or text.strip(digits):
        raise ValueError(f"not an unsigned number: {text!r}")
    value = int(text, base)
    if value >> bits:
        raise ValueError(f"number out of range: {text!r}")
    return value


def clean_path(path: str) -> str:
    """`path.Clean`: the shortest equivalent path by text alone; "" becomes "."."""
    rooted = path.startswith("/")
    kept: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            kept.append(part)
        elif kept and kept[-1] != "..":
            kept.pop()
        elif not rooted:
            kept.append("..")
    cleaned = "/".join(kept)
    return f"/{cleaned}" if rooted else cleaned or "."


def base_name(path: str) -> str:
    """`path.Base`: the last element; "." for "", "/" for slashes alone."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"
