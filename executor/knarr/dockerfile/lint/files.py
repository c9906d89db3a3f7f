"""The check on COPY and ADD sources that .dockerignore leaves out."""

from collections.abc import Iterator

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.instructions import Add, Copy
from knarr.dockerfile.language.remote_sources import parse_remote_source
from knarr.dockerfile.lint.text import Hit, quoted
from knarr.dockerfile.lint.walk import StageView
from knarr.dockerfile.syntax.text import clean_path
from knarr.errors import DockerfileError

_WILDCARDS = frozenset("*?[\\")
_ANY_NAME = "\0\0"
"""Stands for every name at the context's root: no pattern singles it out."""


def ignored_sources(view: StageView) -> Iterator[Hit]:
    """Sources from the build context; remote ones, and those of stages and images, are not ignored."""
    patterns = view.context.ignore
    if not patterns.patterns:
        return
    for step in view.steps:
        instruction = step.instruction
        if not isinstance(instruction, Add | Copy) or (isinstance(instruction, Copy) and instruction.from_):
            continue
        verb = "Add" if isinstance(instruction, Add) else "Copy"
        for source in instruction.sources:
            path = clean_path(source)
            if not _is_remote(source) and _is_left_out(path, patterns):
                detail = f"Attempting to {verb} file {quoted(path)} that is excluded by .dockerignore"
                yield Hit(instruction, detail)


def _is_remote(source: str) -> bool:
    """Also for what is remote but wrong: the build says so."""
    try:
        return parse_remote_source(source) is not None
    except DockerfileError:
        return True


def _is_left_out(path: str, patterns: IgnorePatterns) -> bool:
    """Whether nothing of a source is left; a pattern with `!` that may match below it makes that unknown."""
    if not patterns.excludes(_ANY_NAME if path == "." else path):
        return False
    place = _literal_part(path)
    takes_back = (pattern for pattern in patterns.patterns if pattern.includes)
    return not any(not place or pattern.may_match_below(place) for pattern in takes_back)


def _literal_part(path: str) -> str:
    """The directories before the first wildcard; empty for the context's root."""
    if path == ".":
        return ""
    parts: list[str] = []
    for part in path.split("/"):
        if _WILDCARDS & set(part):
            break
        parts.append(part)
    return "/".join(parts)
