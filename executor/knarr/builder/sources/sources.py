"""Where COPY, ADD and mounts find things: the build context, stages that are done, images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from knarr.builder.cache.keys import chain_id
from knarr.builder.cache.source_keys import FilesSource, FixedSource, NamedSource, StageSource
from knarr.builder.plan.stage import StageBuild
from knarr.builder.roots.stage_root import StageRoot
from knarr.builder.sources.local_source import LocalSource
from knarr.builder.sources.named_contexts import NamedContexts
from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.stages.stages import (
    ContextReference,
    ImageReference,
    ScratchReference,
    StageReference,
    resolve_from,
)
from knarr.rootfs.tree import EmptyTree, Tree


class Source(Protocol):
    """Something to take files from."""

    def tree(self) -> Tree:
        """Its files."""
        ...

    def locate(self, path: str) -> tuple[Path, str]:
        """A directory on disk with a path in it where what `path` names lies; not to be written to."""
        ...


class BuildSources:
    """The sources of one build; opened when something is taken from them.

    `context_root` makes the root of a named context that is an image, `image_root` that of an image by name.
    `empty` is what `from=scratch` mounts: a directory, not made yet.
    """

    def __init__(
        self,
        context: LocalSource,
        dockerfile: Dockerfile,
        finished: Mapping[int, StageBuild],
        contexts: NamedContexts,
        *,
        context_root: Callable[[str], StageRoot],
        image_root: Callable[[str], StageRoot],
        empty: Path,
    ) -> None:
        self._context = context
        self._dockerfile = dockerfile
        self._finished = finished
        self._contexts = contexts
        self._context_root = context_root
        self._image_root = image_root
        self._empty = empty

    def context(self) -> Tree:
        """The build context, without what its ignore file excludes. Raises ContextError."""
        return self._context.files()

    def is_ignored(self, path: str) -> bool:
        """Whether the ignore file excludes a path."""
        return self._context.is_ignored(path)

    def named(self, name: str, before: int) -> Tree:
        """What `--from=name` means in the stage of this index. Raises DockerfileError, RegistryError."""
        return self._source(name, before, numbered=True).tree()

    def identify(self, name: str, before: int, numbered: bool) -> NamedSource:  # noqa: FBT001 - a callback
        """What the cache knows that source by. Raises DockerfileError, RegistryError."""
        names = self._contexts.names
        match resolve_from(self._dockerfile, name, before=before, contexts=names, numbered=numbered):
            case StageReference(index):
                return StageSource(index)
            case ImageReference(image):
                return FixedSource(chain_id(self._image_root(image).diff_ids))
            case ContextReference(context):
                directory = self._contexts.directory(context)
                if directory is not None:
                    return FilesSource(f"context {context}", directory.tree)
                return FixedSource(chain_id(self._context_root(context).diff_ids))
            case ScratchReference():
                return FixedSource("scratch")

    def locate(self, name: str | None, before: int, path: str) -> tuple[Path, str]:
        """Where on disk `source=path` of a mount's `from=name` lies, None being the build context.

        A directory with a path in it, whose symlinks are not resolved yet. Raises ContextError for a missing
        file of a context, DockerfileError, RegistryError.
        """
        if name is None:
            return self._context.locate(path)
        return self._source(name, before, numbered=False).locate(path)

    def close(self) -> None:
        """Close the contexts."""
        self._context.close()
        self._contexts.close()

    def _source(self, name: str, before: int, *, numbered: bool) -> Source:
        names = self._contexts.names
        match resolve_from(self._dockerfile, name, before=before, contexts=names, numbered=numbered):
            case StageReference(index):
                return self._finished[index].root
            case ImageReference(image):
                return self._image_root(image)
            case ContextReference(context):
                return self._contexts.directory(context) or self._context_root(context)
            case ScratchReference():
                return _Nothing(self._empty)


class _Nothing:
    """`scratch` as a source."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def tree(self) -> Tree:
        return EmptyTree()

    def locate(self, path: str) -> tuple[Path, str]:
        self._directory.mkdir(exist_ok=True)
        return self._directory, path
