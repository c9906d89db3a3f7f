"""Puts base images into a directory for later builds."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.errors import CorruptError, OutputError
from knarr.images.layout import OciLayout
from knarr.images.layout_directory import LayoutDirectory
from knarr.images.local_base_cache import LOCKS
from knarr.images.store import Store
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.transfer.pull import DEFAULT_JOBS, fetch_blobs
from knarr.registry.transfer.resolve import ResolvedImage, resolve


class Warmer:
    """Fills one directory; any number of them may be at it at once.

    An image is there whole or not at all: an OCI layout, named like the digest of its manifest. Where the
    name stands for an index, that is there as well, in a layout without images. With `force` nothing that is
    there counts, else what is younger than `ttl_s` does.
    """

    def __init__(self, client: Client, directory: Path, *, ttl_s: float, now_s: float, force: bool) -> None:
        self._client = client
        self._layouts = LayoutDirectory(directory)
        self._locks = directory / LOCKS
        self._oldest_s = now_s - ttl_s
        self._force = force

    def warm(self, name: str, platform: Platform) -> Digest:
        """Have an image there; the result is the digest of its manifest. Raises KnarrError."""
        reference = Reference.parse(name).with_default_tag()
        try:
            self._locks.mkdir(mode=0o755, parents=True, exist_ok=True)
            with self._layouts.scratch() as scratch:
                documents = Store.create(scratch, durable=False)
                image = resolve(self._client, reference, platform, store=documents)
                self._put_image(image, str(reference))
                if image.top.digest != image.descriptor.digest:
                    self._put_documents(image.top, documents)
        except OSError as error:
            raise OutputError(
                f"can't keep {reference} in {self._layouts.root}: {error.strerror}",
                hint="--cache-dir names a directory that can be written to",
            ) from error
        return image.descriptor.digest

    def _put_image(self, image: ResolvedImage, name: str) -> None:
        digest, manifest = image.descriptor.digest, image.manifest
        with self._locked(digest):
            there = self._layouts.root / str(digest)
            if self._counts(there, (image.descriptor, manifest.config, *manifest.layers)):
                self._client.reporter.report(Note(f"{name} is in {there} already"))
                return
            with self._layouts.replacing(str(digest)) as layout:
                layout.blobs.add(image.manifest_bytes)
                layout.blobs.add(image.config_bytes)
                missing = [each for each in manifest.layers if not self._reuse(each, layout.blobs)]
                fetch_blobs(self._client, image.reference, missing, layout.blobs, jobs=DEFAULT_JOBS)
                layout.write_index([image.descriptor])
            self._client.reporter.report(Note(f"{name} is in {there}"))

    def _put_documents(self, top: Descriptor, documents: Store) -> None:
        with self._locked(top.digest):
            if self._counts(self._layouts.root / str(top.digest), [top]):
                return
            with self._layouts.replacing(str(top.digest)) as layout:
                for path in (documents.root / "blobs" / "sha256").iterdir():
                    layout.blobs.add(path.read_bytes())
                layout.write_index([top])

    def _counts(self, path: Path, blobs: Iterable[Descriptor]) -> bool:
        """Whether a layout is young enough, and seems to be whole."""
        try:
            is_young = path.stat().st_mtime >= self._oldest_s
        except FileNotFoundError:
            return False
        return is_young and not self._force and all(map(OciLayout(path).blobs.holds, blobs))

    def _reuse(self, descriptor: Descriptor, store: Store) -> bool:
        """Take a layer from an image that is there, checked."""
        if self._force:
            return False
        digest = descriptor.digest
        for path in self._layouts.root.glob(f"sha*/blobs/{digest.algorithm}/{digest.encoded}"):
            try:
                with path.open("rb") as source:
                    store.copy(descriptor, source)
            except (CorruptError, FileNotFoundError):
                continue
            return True
        return False

    @contextmanager
    def _locked(self, digest: Digest) -> Iterator[None]:
        path = self._locks / str(digest)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
