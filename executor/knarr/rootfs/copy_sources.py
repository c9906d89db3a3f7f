"""The sources of COPY, from their text to paths in a tree."""

from collections.abc import Callable, Iterator

from knarr.dockerfile.ignore.patterns import IgnorePattern, IgnorePatterns
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
        hint = f"/{clean(path)} is excluded by the ignore file (.dockerignore) of the build context"
    else:
        hint = "paths are relative to the build context, or to the root of the stage named by --from"
    return ContextError(f'"/{clean(path)}": not found', hint=hint)


def _matches(source: Tree, directory: str, patterns: list[str]) -> Iterator[str]:
    for name in source.children(directory):
        if not _match(patterns[0], name):
            continue
        path = join(directory, name)
        if len(patterns) == 1:
            yield path
            continue
        entry = source.lookup(path)
        if entry is not None and entry.kind is Kind.DIRECTORY:
            yield from _matches(source, path, patterns[1:])


class ParentsPattern:
    """The pattern of `COPY --parents` after its pivot, in which `**` crosses directories."""

    def __init__(self, text: str) -> None:
        try:
            self._pattern = IgnorePattern.parse(clean(text), includes=False)
        except ValueError as error:
            raise DockerfileError(f"{text!r} is no pattern: {error}") from error
        self._patterns = IgnorePatterns((self._pattern,))

    def includes(self, path: str) -> bool:
        """Whether the path is copied: it matches, or a directory above it does."""
        return self._patterns.excludes(path)

    def may_include_below(self, directory: str) -> bool:
        """False only where nothing in the directory is copied."""
        return self.includes(directory) or self._pattern.may_match_below(directory)


def _match(pattern: str, name: str) -> bool:
    try:
        return match_wildcard(pattern, name)
    except ValueError as error:
        raise DockerfileError(f"{pattern!r} is no pattern: {error}") from error
