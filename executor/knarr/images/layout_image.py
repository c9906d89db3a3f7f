"""An image read from an OCI image layout on disk (image-spec image-layout.md)."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from knarr.errors import ContextError, CorruptError
from knarr.images.base_images import image_of
from knarr.images.image import Image
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest, parse_manifest
from knarr.oci.platform import Platform

_REF_NAME = "org.opencontainers.image.ref.name"
_MAX_DEPTH = 8
_CHUNK_BYTES = 1024 * 1024


def read_layout_image(
    path: Path, platform: Platform, store: Store, *, tag: str | None = None, digest: Digest | None = None
) -> Image:
    """The image of a layout that suits a platform; its layers are copied to `store`, verified.

    `digest` names the image, else `tag` does; with neither it is `latest`, or the only one. Raises
    ContextError where there is no such image, CorruptError where the layout is damaged.
    """
    try:
        return _Layout(path, platform, tag, digest).read(store)
    except OSError as error:
        raise ContextError(f"can't read the OCI layout {path}: {error.strerror}") from error


class _Layout:
    def __init__(self, path: Path, platform: Platform, tag: str | None, digest: Digest | None) -> None:
        self._path = path
        self._platform = platform
        self._tag = tag
        self._digest = digest
        self._blobs = Store(path, durable=False)

    def read(self, store: Store) -> Image:
        manifest = self._manifest(self._start(), _MAX_DEPTH)
        config = ImageConfig.parse(self._blob(manifest.config.digest))
        if len(config.diff_ids) != len(manifest.layers):
            raise CorruptError(f"{self._path}: manifest and config have different numbers of layers")
        for layer in manifest.layers:
            if not store.has(layer.digest):
                with self._open(layer.digest) as source, store.writer(layer) as copy:
                    while chunk := source.read(_CHUNK_BYTES):
                        copy.write(chunk)
        return image_of(manifest, config, origin=None)

    def _start(self) -> Digest:
        """The digest of the image that the context names, which may be an index."""
        if self._digest is not None:
            return self._digest
        with (self._path / "index.json").open("rb") as file:
            index = parse_manifest(file.read(MAX_MANIFEST_BYTES + 1), media_types.OCI_INDEX)
        if not isinstance(index, Index):
            raise CorruptError(f"{self._path}: index.json is no index")
        tag = self._tag or "latest"
        found = [each for each in index.manifests if each.annotations.get(_REF_NAME) == tag]
        if not found and self._tag is None and len(index.manifests) == 1:
            found = list(index.manifests)
        if not found:
            names = (each.annotations.get(_REF_NAME) for each in index.manifests)
            tags = sorted(name for name in names if name)
            raise ContextError(
                f"the OCI layout {self._path} has no image {tag}",
                hint=f"it has {', '.join(tags)}"
                if tags
                else "name it by digest: oci-layout://PATH@sha256:...",
            )
        return found[0].digest

    def _manifest(self, digest: Digest, depth: int) -> Manifest:
        value = parse_manifest(self._blob(digest))
        if isinstance(value, Manifest):
            return value
        suitable = _best(value.manifests, self._platform)
        if suitable is None or depth == 0:
            raise ContextError(f"the OCI layout {self._path} has no image for {self._platform}")
        return self._manifest(suitable.digest, depth - 1)

    def _blob(self, digest: Digest) -> bytes:
        with self._open(digest):
            return self._blobs.read(digest, limit_bytes=MAX_MANIFEST_BYTES)

    def _open(self, digest: Digest) -> BinaryIO:
        try:
            return self._blobs.open(digest)
        except FileNotFoundError as error:
            raise CorruptError(f"the OCI layout {self._path} lacks the blob {digest}") from error


def _best(manifests: Iterable[Descriptor], platform: Platform) -> Descriptor | None:
    """The first of those that suit best; one that doesn't say what it is for suits least."""
    known = media_types.INDEXES | media_types.MANIFESTS
    rated = [
        (platform.runs(each.platform) * 2 if each.platform is not None else 1, each)
        for each in manifests
        if each.media_type in known
    ]
    suitable = [(rating, each) for rating, each in rated if rating]
    return max(suitable, key=lambda pair: pair[0])[1] if suitable else None
