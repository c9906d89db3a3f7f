"""Puts base images into a directory for later builds."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.errors import CorruptError, OutputError
from knarr.images.local_base_cache import LOCKS
from knarr.images.store import Store
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.image import ResolvedImage
from knarr.registry.pull import DEFAULT_JOBS, fetch_blobs
from knarr.registry.resolve import resolve


class Warmer:
    """Fills one directory; any number of them may be at it at once.

    An image is there whole or not at all: an OCI layout, named like the digest of its manifest. Where the
    name stands for an index, that is there as well, in a layout without images. With `force` nothing that is
    there counts, else what is younger than `ttl_s` does.
    """

    def __init__(self, client: Client, directory: Path, *, ttl_s: float, now_s: float, force: bool) -> None:
        self._client = client
        self._directory = directory
        self._oldest_s = now_s - ttl_s
        self._force = force

    def warm(self, name: str, platform: Platform) -> Digest:
        """Have an image there; the result is the digest of its manifest. Raises KnarrError."""
        reference = Reference.parse(name).with_default_tag()
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            (self._directory / LOCKS).mkdir(mode=0o755, exist_ok=True)
            with self._scratch() as scratch:
                documents = Store.create(scratch, durable=False)
                image = resolve(self._client, reference, platform, store=documents)
                self._put_image(image, str(reference))
                if image.top.digest != image.descriptor.digest:
                    self._put_documents(image.top, documents)
        except OSError as error:
            raise OutputError(
                f"can't keep {reference} in {self._directory}: {error.strerror}",
                hint="--cache-dir names a directory that can be written to",
            ) from error
        return image.descriptor.digest

    def _put_image(self, image: ResolvedImage, name: str) -> None:
        digest, manifest = image.descriptor.digest, image.manifest
        with self._locked(digest):
            there = self._directory / str(digest)
            blobs = (image.descriptor, manifest.config, *manifest.layers)
            if self._counts(there) and _seems_whole(Store(there, durable=False), blobs):
                self._client.reporter.report(Note(f"{name} is in {there} already"))
                return
            with self._scratch() as scratch:
                layout = Store.create(scratch, durable=True)
                layout.add(image.manifest_bytes)
                layout.add(image.config_bytes)
                missing = [each for each in manifest.layers if not self._reuse(each, layout)]
                fetch_blobs(self._client, image.reference, missing, layout, jobs=DEFAULT_JOBS)
                layout.write_index([image.descriptor])
                self._swap_in(layout, there)
            self._client.reporter.report(Note(f"{name} is in {there}"))

    def _put_documents(self, top: Descriptor, documents: Store) -> None:
        with self._locked(top.digest):
            there = self._directory / str(top.digest)
            if self._counts(there) and _seems_whole(Store(there, durable=False), [top]):
                return
            with self._scratch() as scratch:
                layout = Store.create(scratch, durable=True)
                for path in (documents.root / "blobs" / "sha256").iterdir():
                    layout.add(path.read_bytes())
                layout.write_index([top])
                self._swap_in(layout, there)

    def _counts(self, path: Path) -> bool:
        try:
            return not self._force and path.stat().st_mtime >= self._oldest_s
        except FileNotFoundError:
            return False

    def _reuse(self, descriptor: Descriptor, layout: Store) -> bool:
        """Take a layer from an image that is there, checked."""
        if self._force:
            return False
        for path in self._directory.glob(
            f"sha*/blobs/{descriptor.digest.algorithm}/{descriptor.digest.encoded}"
        ):
            try:
                with path.open("rb") as source, layout.writer(descriptor) as writer:
                    shutil.copyfileobj(source, writer)
            except (CorruptError, FileNotFoundError):
                continue
            return True
        return False

    def _swap_in(self, layout: Store, there: Path) -> None:
        layout.finish()
        os.chmod(layout.root, 0o755)
        os.utime(layout.root)
        if os.path.lexists(there):
            old = layout.root.with_name(f"{layout.root.name}-old")
            there.rename(old)
            layout.root.rename(there)
            shutil.rmtree(old, ignore_errors=True)
        else:
            layout.root.rename(there)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        path = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _locked(self, digest: Digest) -> Iterator[None]:
        path = self._directory / LOCKS / str(digest)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _seems_whole(layout: Store, blobs: Iterable[Descriptor]) -> bool:
    return all(
        layout.has(each.digest) and layout.size_bytes(each.digest) == each.size_bytes for each in blobs
    )
