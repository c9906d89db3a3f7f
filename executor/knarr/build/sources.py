"""Where COPY and ADD find things: the build context, stages that are done, images."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from knarr.build.stage import StageBuild
from knarr.dockerfile.ignore import IgnorePatterns
from knarr.dockerfile.parser import Dockerfile
from knarr.dockerfile.stages import ImageReference, ScratchReference, StageReference, resolve_from
from knarr.errors import ContextError, DockerfileError
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.tree import EmptyTree, Tree


class BuildSources:
    """The sources of one build; opened when something is copied from them."""

    def __init__(
        self,
        context: Path,
        ignore: IgnorePatterns,
        dockerfile: Dockerfile,
        finished: Mapping[int, StageBuild],
        image_tree: Callable[[str], Tree],
    ) -> None:
        self._context_path = context
        self._ignore = ignore
        self._dockerfile = dockerfile
        self._finished = finished
        self._image_tree = image_tree
        self._context: DirTree | None = None
        self._context_fd: int | None = None

    def context(self) -> Tree:
        """The build context, without what its ignore file excludes. Raises ContextError."""
        if self._context is None:
            try:
                self._context_fd = os.open(self._context_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise ContextError(
                    f"can't open the build context {self._context_path}: {error.strerror}",
                    hint="name a directory: knarr build DIRECTORY",
                ) from error
            self._context = DirTree(self._context_fd, ignore=self._ignore if self._ignore.patterns else None)
        return self._context

    def is_ignored(self, path: str) -> bool:
        """Whether the ignore file excludes a path."""
        return self._ignore.excludes(path)

    def named(self, name: str, before: int) -> Tree:
        """What `--from=name` means in the stage of this index. Raises DockerfileError, RegistryError."""
        match resolve_from(self._dockerfile, name, before=before, numbered=True):
            case StageReference(index):
                return self._finished[index].root.tree()
            case ImageReference(image):
                return self._image_tree(image)
            case ScratchReference():
                return EmptyTree()
            case reference:
                raise DockerfileError(f"--from={name}: {reference} is no stage or image")

    def close(self) -> None:
        """Close the context."""
        if self._context is not None:
            self._context.close()
            self._context = None
        if self._context_fd is not None:
            os.close(self._context_fd)
            self._context_fd = None
