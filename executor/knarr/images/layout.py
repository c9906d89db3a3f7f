"""An OCI image layout on disk (image-spec image-layout.md)."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from knarr.errors import ContextError, CorruptError, OutputError
from knarr.images.base_images import image_of
from knarr.images.image import FinishedImage, Image
from knarr.images.store import INGEST, Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest, encode_json, parse_manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference

NAMELESS = "unset-repo/unset-image-name:latest"
"""The name that kaniko gives to an image where there is no destination."""
LAYOUT_FILE = "oci-layout"
LAYOUT_VERSION = encode_json({"imageLayoutVersion": "1.0.0"})
INDEX_FILE = "index.json"

_CONTAINERD_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_MAX_DEPTH = 8
_NO_LOCKS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class OciLayout:
    """One directory: blobs by digest, and index.json that says which of them are images.

    Every file appears whole or not at all, so that reading needs no lock.
    """

    def __init__(self, root: Path, *, durable: bool = False) -> None:
        self.root = root
        self.blobs = Store(root, durable=durable)

    @classmethod
    @contextmanager
    def open(cls, root: Path) -> Iterator["OciLayout"]:
        """The layout of a directory, to write to; it is made where it is missing.

        Any number of writers may be at it at once. What a writer that was killed has left behind is removed
        by the next one that is alone there, when it begins or ends. A file system without locks keeps it:
        nothing else comes of it. A block that raises leaves nothing new but whole blobs, and no directory
        that was not there before. Raises OutputError where the directory can't be made.
        """
        is_new = not root.exists()
        layout = cls(root, durable=True)
        try:
            lock = _DirectoryLock.take(root)
        except OSError as error:
            raise OutputError(f"can't make a store in {root}: {error.strerror}") from error
        try:
            lock.when_alone(layout._remove_leftovers)
            Store.create(root, durable=True)
            if not (root / LAYOUT_FILE).exists():
                layout.blobs.write_file(LAYOUT_FILE, LAYOUT_VERSION)
            yield layout
        except BaseException:
            lock.when_alone(partial(shutil.rmtree, root) if is_new else layout._remove_leftovers)
            raise
        else:
            lock.when_alone(layout._remove_leftovers)
        finally:
            lock.close()

    def put(self, image: FinishedImage, entries: Sequence[Descriptor]) -> None:
        """Write an image, then the index with its entries, see `named`.

        A blob that is there in its size is kept. Raises OSError, CorruptError, RegistryError.
        """
        for blob in image.blobs:
            if not self.blobs.holds(blob):
                with image.open(blob) as source:
                    self.blobs.copy(blob, source)
        self.blobs.add(image.manifest_bytes)
        self.write_index(entries)

    def write_index(self, entries: Iterable[Descriptor]) -> None:
        """Say what images the layout holds; an older index is replaced in one step."""
        self.blobs.write_file(INDEX_FILE, encode_index(entries))

    def entries(self) -> tuple[Descriptor, ...]:
        """What index.json names. Raises OSError, CorruptError."""
        with (self.root / INDEX_FILE).open("rb") as file:
            return parse_index(file.read(MAX_MANIFEST_BYTES + 1), self.root)

    def find(self, tag: str | None) -> Digest:
        """The digest of the image, or index, of a tag; without one it is `latest`, or the only one.

        Raises ContextError that says what there is, OSError, CorruptError.
        """
        entries = self.entries()
        found = [each for each in entries if each.annotations.get(_REF_NAME) == (tag or "latest")]
        if not found and tag is None and len(entries) == 1:
            found = list(entries)
        if not found:
            names = (each.annotations.get(_REF_NAME) for each in entries)
            tags = sorted(name for name in names if name)
            raise ContextError(
                f"the OCI layout {self.root} has no image {tag or 'latest'}",
                hint=f"it has {', '.join(tags)}"
                if tags
                else "name it by digest: oci-layout://PATH@sha256:...",
            )
        return found[0].digest

    def manifest(self, digest: Digest, platform: Platform) -> Manifest:
        """The manifest of a digest, which may be an index: then of the image in it that suits the platform.

        Raises ContextError where none does, OSError, CorruptError.
        """
        for _ in range(_MAX_DEPTH + 1):
            value = parse_manifest(self.read(digest))
            if isinstance(value, Manifest):
                return value
            suitable = _best(value.manifests, platform)
            if suitable is None:
                break
            digest = suitable.digest
        raise ContextError(f"the OCI layout {self.root} has no image for {platform}")

    def config(self, manifest: Manifest) -> ImageConfig:
        """The config of an image. Raises OSError; CorruptError where it does not go with the layers."""
        config = ImageConfig.parse(self.read(manifest.config.digest))
        if len(config.diff_ids) != len(manifest.layers):
            raise CorruptError(f"{self.root}: manifest and config have different numbers of layers")
        return config

    def read(self, digest: Digest) -> bytes:
        """A manifest, index or config. Raises OSError; CorruptError where it is missing or damaged."""
        with self.open_blob(digest):
            return self.blobs.read(digest, limit_bytes=MAX_MANIFEST_BYTES)

    def open_blob(self, digest: Digest) -> BinaryIO:
        """A blob, unchecked; the caller closes it. Raises OSError; CorruptError where it is missing."""
        try:
            return self.blobs.open(digest)
        except FileNotFoundError as error:
            raise CorruptError(f"the OCI layout {self.root} lacks the blob {digest}") from error

    def copy_blob(self, descriptor: Descriptor, store: Store) -> None:
        """Bring a blob into a store that lacks it, checked. Raises OSError, CorruptError."""
        if not store.has(descriptor.digest):
            with self.open_blob(descriptor.digest) as source:
                store.copy(descriptor, source)

    def _remove_leftovers(self) -> None:
        """Remove what writing needs, and what killed writers have not written to its end."""
        for path in (self.root / INGEST).glob("tmp*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # missing, or somebody else has put something there
            (self.root / INGEST).rmdir()


class _DirectoryLock:
    """A lock on a directory, shared; it ends with its holder. A file system may have none (flock(2))."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, directory: Path) -> "_DirectoryLock":
        """Make the directory where it is missing, wait until nobody has it alone. Raises OSError."""
        while True:
            directory.mkdir(parents=True, exist_ok=True)
            lock = cls(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            lock._flock(fcntl.LOCK_SH)
            if lock._is_on(directory):  # who was alone there may have removed it
                return lock
            lock.close()

    def when_alone(self, act: Callable[[], object]) -> None:
        """Do something while nobody else holds the lock, if that is so now."""
        if self._flock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            try:
                act()
            finally:
                self._flock(fcntl.LOCK_SH)
        else:
            self._flock(fcntl.LOCK_SH)  # a wish that was not granted has cost the lock

    def close(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)

    def _is_on(self, directory: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), directory.stat())
        except FileNotFoundError:
            return False

    def _flock(self, operation: int) -> bool:
        try:
            fcntl.flock(self._descriptor, operation)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
        return True


def is_layout(path: Path) -> bool:
    """Whether a directory is an OCI image layout, or what a killed writer has begun to make of one.

    Raises OSError.
    """
    if (path / LAYOUT_FILE).exists():
        return True
    if not {each.name for each in path.iterdir()} <= {"blobs", INGEST}:
        return False
    below = (each.relative_to(path) for each in path.rglob("*"))
    begun = ("blobs", "blobs/sha256", INGEST)
    return all(str(each) in begun or each.match(f"{INGEST}/tmp*") for each in below)


def read_layout_image(
    path: Path, platform: Platform, store: Store, *, tag: str | None = None, digest: Digest | None = None
) -> Image:
    """The image of a layout that suits a platform; its layers are copied to `store`, verified.

    `digest` names the image, else `tag` does; with neither it is `latest`, or the only one. Raises
    ContextError where there is no such image, CorruptError where the layout is damaged.
    """
    layout = OciLayout(path)
    try:
        manifest = layout.manifest(digest or layout.find(tag), platform)
        config = layout.config(manifest)
        for layer in manifest.layers:
            layout.copy_blob(layer, store)
    except OSError as error:
        raise ContextError(f"can't read the OCI layout {path}: {error.strerror}") from error
    return image_of(manifest, config, origin=None)


def parse_index(data: bytes, place: Path) -> tuple[Descriptor, ...]:
    """The entries of an index.json; `place` is where it was found. Raises CorruptError."""
    index = parse_manifest(data, media_types.OCI_INDEX)
    if not isinstance(index, Index):
        raise CorruptError(f"{place}: {INDEX_FILE} is no image index")
    return index.manifests


def encode_index(entries: Iterable[Descriptor]) -> bytes:
    """An index.json with these entries."""
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [entry.to_json() for entry in entries],
        }
    )


def tags_of(names: Sequence[Reference]) -> list[str]:
    """The names under which an image is kept in files; there is one in any case."""
    return [str(name.with_default_tag()) for name in names] or [NAMELESS]


def named(descriptor: Descriptor, name: str) -> Descriptor:
    """A manifest as index.json names it: with the whole name for containerd, with the tag for others."""
    annotations = {**descriptor.annotations, _CONTAINERD_NAME: name, _REF_NAME: name.rpartition(":")[2]}
    return Descriptor(
        descriptor.media_type, descriptor.digest, descriptor.size_bytes, annotations, descriptor.platform
    )


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
