"""The sources of COPY, from their text to paths in a tree."""

from collections.abc import Callable, Iterator

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.ignore.wildcards import has_wildcard, match_wildcard
from knarr.errors import ContextError, DockerfileError
from knarr.layers.entry import Kind
from knarr.layers.paths import clean, join
from knarr.rootfs.tree import Tree

Ignored = Callable[[str], bool]


def find_sources(text: str, source: Tree, *, ignored: Ignored | None = None) -> list[str]:
    """The paths that one source argument means, in order, last symlinks not followed yet.

    Leading components without wildcards follow symlinks, the others match real names only, so that a
    match of three components is three directories deep. No match is no error where there are wildcards;
    a literal path that is missing raises ContextError.
    """
    parts = clean(text).split("/")
    fixed = next((at for at, part in enumerate(parts) if has_wildcard(part)), len(parts))
    base = "/".join(parts[:fixed])
    resolved = source.resolve(base)
    entry = source.lookup(resolved)
    if entry is None:
        raise missing_source(base or text, ignored)
    if fixed == len(parts):
        return [base]
    return list(_matches(source, resolved, parts[fixed:]))


def missing_source(path: str, ignored: Ignored | None) -> ContextError:
    """The error for a source that is not there; says so where it is but was ignored."""
    if ignored is not None and ignored(clean(path)):
        hint = (
            f"/{clean(path)} is excluded by the ignore file (.dockerignore) of the build context, "
            "or is a place that knarr itself writes to: a cache, an output"
        )
    else:
        hint = "paths are relative to the build context, or to the root of the stage named by --from"
    return ContextError(f'"/{clean(path)}": not found', hint=hint)


def _matches(source: Tree, directory: str, patterns: list[str]) -> Iterator[str]:
    """The paths that match a pattern a component, in the order of their names."""
    # Without recursion: a source may have any number of components.
    levels = [iter(_named(source, directory, patterns[0]))]
    while levels:
        path = next(levels[-1], None)
        if path is None:
            levels.pop()
        elif len(levels) == len(patterns):
            yield path
        else:
            entry = source.lookup(path)
            if entry is not None and entry.kind is Kind.DIRECTORY:
                levels.append(iter(_named(source, path, patterns[len(levels)])))


def _named(source: Tree, directory: str, pattern: str) -> list[str]:
    return [join(directory, name) for name in source.children(directory) if _match(pattern, name)]


def parents_pattern(text: str) -> IgnorePatterns:
    """The pattern of `COPY --parents` behind its pivot, as one that leaves out all else.

    `**` crosses directories in it. Raises DockerfileError.
    """
    try:
        return IgnorePatterns.only(clean(text))
    except ValueError as error:
        raise DockerfileError(f"{text!r} is no pattern: {error}") from error


def _match(pattern: str, name: str) -> bool:
    try:
        return match_wildcard(pattern, name)
    except ValueError as error:
        raise DockerfileError(f"{pattern!r} is no pattern: {error}") from error
