"""HTML that is safe by the way it is made: whatever is no markup yet is escaped."""

from html import escape

from knarr.report.text import visible

_VOID = frozenset({"meta", "br", "col"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | None) -> Markup:
    """An element; a child that is no Markup is text. `class_` is the attribute class; None leaves one out."""
    names = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    given = "".join(f' {name}="{_escaped(value)}"' for name, value in names.items() if value is not None)
    if tag in _VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{join(*children)}</{tag}>")


def join(*parts: str) -> Markup:
    """Parts one after the other; what is no Markup is text."""
    return Markup("".join(part if isinstance(part, Markup) else _escaped(part) for part in parts))


def _escaped(text: str) -> str:
    return escape(visible(text))
