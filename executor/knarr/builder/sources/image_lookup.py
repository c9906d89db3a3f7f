"""The images and directories that a Dockerfile names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from knarr.builder.request.contexts import (
    ContextKey,
    DirectoryContext,
    ImageContext,
    LayoutContext,
    NamedContext,
    choose_context,
)
from knarr.builder.sources.context import read_context_ignore
from knarr.builder.sources.local_source import LocalSource
from knarr.errors import DockerfileError
from knarr.images.base_images import BaseImages
from knarr.images.blobs import Blobs
from knarr.images.image import Image
from knarr.images.layout import read_layout_image
from knarr.oci.image_config import History, ImageConfig
from knarr.oci.platform import Platform
from knarr.rootfs.copying.copy import CopyRequest, plan_copy
from knarr.rootfs.tree import EmptyTree


class NamedImages:
    """Images of registries and named contexts, each opened when something asks for it, once a build.

    `place` is a directory of their own, not made yet.
    """

    def __init__(
        self,
        contexts: Mapping[ContextKey, NamedContext],
        platform: Platform,
        bases: BaseImages,
        blobs: Blobs,
        place: Path,
        *,
        own: Iterable[Path] = (),
    ) -> None:
        """`own` are places of this program, which are no part of a directory that they lie in."""
        self._contexts = contexts
        self._platform = platform
        self._bases = bases
        self._blobs = blobs
        self._place = place
        self._own = tuple(own)
        self._directories: dict[DirectoryContext, LocalSource] = {}
        self._images: dict[tuple[NamedContext, Platform], Image] = {}

    @property
    def context_names(self) -> frozenset[str]:
        """The names that are there for the platform of the build."""
        names = {key.name for key in self._contexts}
        return frozenset(name for name in names if choose_context(self._contexts, name, self._platform))

    def directory(self, name: str) -> LocalSource:
        """The directory that a name stands for."""
        context = self._get(name, self._platform)
        assert isinstance(context, DirectoryContext), "the plan tells images from directories"
        return self._directory(context)

    def registry_image(self, name: str, platform: Platform) -> Image:
        """The image of a registry. Raises UsageError, RegistryError, CorruptError."""
        return self._bases.get(name, platform)

    def is_directory(self, name: str) -> bool:
        """Whether a named context is a directory of this machine."""
        return isinstance(self._get(name, self._platform), DirectoryContext)

    def context_image(self, name: str, platform: Platform) -> Image:
        """The image that a named context is; a directory is one of a single layer, owned by root.

        Raises ContextError, RegistryError, CorruptError.
        """
        context = self._get(name, platform)
        key = (context, platform)
        if key not in self._images:
            self._images[key] = self._read(context, platform)
        return self._images[key]

    def close(self) -> None:
        """Close the directories."""
        for directory in self._directories.values():
            directory.close()

    def _get(self, name: str, platform: Platform) -> NamedContext:
        context = choose_context(self._contexts, name, platform)
        if context is None:
            raise DockerfileError(f"the named context {name} is not for {platform}")
        return context

    def _read(self, context: NamedContext, platform: Platform) -> Image:
        match context:
            case ImageContext(name):
                return self._bases.get(name, platform)
            case LayoutContext(path, tag, digest):
                return read_layout_image(path, platform, self._blobs.store, tag=tag, digest=digest)
            case DirectoryContext():
                return self._pack(self._directory(context), platform)

    def _pack(self, directory: LocalSource, platform: Platform) -> Image:
        request = CopyRequest(dest="/", sources=("/",), keep_owner=True)
        layer = self._blobs.write_layer(plan_copy(request, directory.tree(), EmptyTree()))
        return Image(ImageConfig.scratch(platform)).with_layer(layer, History(comment="named context"))

    def _directory(self, context: DirectoryContext) -> LocalSource:
        if context not in self._directories:
            self._place.mkdir(exist_ok=True)
            copies = self._place / str(len(self._directories))
            ignore = read_context_ignore(context.path)
            self._directories[context] = LocalSource(context.path, ignore, copies, own=self._own)
        return self._directories[context]
