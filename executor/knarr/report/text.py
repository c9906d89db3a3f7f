"""Foreign text, made fit to be shown.

An instruction or a registry's answer may hold escape sequences for terminals, or URLs with passwords.
"""

from knarr.dockerfile.language.remote_sources import without_credentials

_KEPT = frozenset("\n\t")
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make text read otherwise than it is (CVE-2021-42574)."""


def visible(text: str) -> str:
    """The text with control characters as escapes, no credentials in URLs; lines stay lines."""
    clean = text if text.isprintable() and text.isascii() else "".join(map(_visible, text))
    return without_credentials(clean)


def one_line(text: str, limit: int = 160) -> str:
    """Its first line, visible, and dots where something was left out."""
    lines = visible(text).strip().split("\n")
    first = lines[0].replace("\t", " ")
    if len(first) > limit:
        return f"{first[: limit - 3]}..."
    return f"{first} ..." if len(lines) > 1 else first


def short_digest(digest: str) -> str:
    """As much of a digest as people compare."""
    return digest[:19]


def short_hex(digest: str) -> str:
    """As `short_digest`, without the algorithm."""
    return short_digest(digest).rpartition(":")[2]


def _visible(character: str) -> str:
    if character in _KEPT or (character.isprintable() and character not in _DIRECTION_MARKS):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()
