"""Where COPY, ADD and mounts find files that no stage of the build makes."""

from pathlib import Path
from typing import Protocol

from knarr.builder.plan.steps import Origin
from knarr.builder.sources.image_lookup import NamedImages
from knarr.builder.sources.local_source import LocalSource
from knarr.dockerfile.stages.stages import ContextReference, ScratchReference
from knarr.linux.plain_directory import make_plain_directory
from knarr.rootfs.tree import EmptyTree, Tree


class Source(Protocol):
    """Something to take files from."""

    def tree(self) -> Tree:
        """Its files. Raises ContextError."""
        ...

    def locate(self, path: str) -> tuple[Path, str]:
        """A directory on disk with a path in it where what `path` names lies; not to be written to.

        Symlinks in the path are not resolved yet. Raises ContextError for a missing file of a context.
        """
        ...


class Directories:
    """The build context, the named contexts that are directories, and nothing (`scratch`).

    `empty` is what a mount `from=scratch` shows: a directory, not made yet.
    """

    def __init__(self, context: LocalSource, lookup: NamedImages, empty: Path) -> None:
        self.context = context
        self._lookup = lookup
        self._nothing = _Nothing(empty)

    def get(self, origin: Origin) -> Source:
        """The source that an origin stands for; it is no stage and no image."""
        match origin:
            case None:
                return self.context
            case ScratchReference():
                return self._nothing
            case ContextReference(name):
                return self._lookup.directory(name)
            case _:
                raise AssertionError(f"{origin} is no directory")

    def close(self) -> None:
        """Close what is open."""
        self.context.close()
        self._lookup.close()


class _Nothing:
    """`scratch` as a source."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def tree(self) -> Tree:
        return EmptyTree()

    def locate(self, path: str) -> tuple[Path, str]:
        make_plain_directory(self._directory, exist_ok=True)
        return self._directory, path
