"""Where cache entries are kept: a repository of a registry, a directory of OCI layouts."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from knarr.builder.cache.entry import CacheEntry
from knarr.errors import ContextError, CorruptError, KnarrError, OutputError
from knarr.images.blobs import Blobs
from knarr.images.image import FinishedImage, OpenLayer
from knarr.images.layout import OciLayout
from knarr.images.layout_directory import LayoutDirectory
from knarr.oci.manifest import Manifest, parse_manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note, Reporter
from knarr.registry.client import Client
from knarr.registry.http.failures import NotFoundError
from knarr.registry.transfer.pull import check_blob
from knarr.registry.transfer.push import put_manifest
from knarr.registry.transfer.resolve import resolve
from knarr.registry.transfer.uploader import upload_blob

_KEY = re.compile(r"[0-9a-f]{64}")


class CacheStore(Protocol):
    """A place for entries by key."""

    @property
    def name(self) -> str:
        """What a message calls it."""
        ...

    def find(self, key: str) -> CacheEntry | None:
        """The entry of a key; None where there is none. Raises KnarrError for anything that went wrong."""
        ...

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        """Put an entry under its key. Raises KnarrError; then what was there before still is."""
        ...


class RepositoryStore:
    """A repository: an entry is an image, a key its tag.

    `lookups` is a client with little patience, `client` one that takes its time to write.
    """

    def __init__(self, client: Client, lookups: Client, repository: Reference, platform: Platform) -> None:
        self._client = client
        self._lookups = lookups
        self._repository = repository
        self._platform = platform

    @property
    def name(self) -> str:
        """The repository's name."""
        return self._repository.name

    def find(self, key: str) -> CacheEntry | None:
        """See CacheStore. The layer itself is not read; that it is there, in its size, is asked for."""
        try:
            found = resolve(self._lookups, self._tagged(key), self._platform)
        except NotFoundError:
            return None
        entry = CacheEntry.parse(found.manifest, found.config, key)
        if entry.layer is None:
            return entry
        check_blob(self._lookups, found.reference, entry.layer.descriptor)
        return entry.at(replace(entry.layer, origin=found.reference))

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        """See CacheStore."""
        image = _image_of(entry, self._platform, open_layer)
        for blob in image.blobs:
            origin = image.origins.get(blob.digest)
            is_near = origin is not None and origin.registry == self._repository.registry
            upload_blob(
                self._client,
                self._repository,
                blob,
                partial(image.open, blob),
                mount_from=origin.repository if origin is not None and is_near else None,
            )
        put_manifest(
            self._client,
            self._tagged(entry.key),
            image.manifest_bytes,
            image.manifest.media_type,
            announced=False,
        )

    def _tagged(self, key: str) -> Reference:
        return Reference(self._repository.registry, self._repository.repository, tag=_checked(key))


class LayoutStore:
    """A directory of OCI image layouts, one an entry, whose names are the keys."""

    def __init__(self, directory: Path, blobs: Blobs, platform: Platform) -> None:
        self._layouts = LayoutDirectory(directory)
        self._blobs = blobs
        self._platform = platform

    @property
    def name(self) -> str:
        """The directory, as the flag has it."""
        return f"oci:{self._layouts.root}"

    def find(self, key: str) -> CacheEntry | None:
        """See CacheStore. The layer is brought into the build's store, verified."""
        path = self._layouts.root / _checked(key)
        try:
            return self._layouts.read(path.name, partial(self._read, key))
        except OSError as error:
            raise OutputError(f"can't read {path}: {error.strerror}") from error

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        """See CacheStore. An entry appears whole or not at all; one that is there is replaced."""
        image = _image_of(entry, self._platform, open_layer)
        try:
            with self._layouts.replacing(_checked(entry.key)) as layout:
                layout.put(image, [image.descriptor])
        except OSError as error:
            raise OutputError(f"can't write {self.name}: {error.strerror}") from error

    def _read(self, key: str, layout: OciLayout) -> CacheEntry:
        try:
            entries = layout.entries()
            if len(entries) != 1:
                raise CorruptError("not a layout of one image")
            manifest = layout.manifest(entries[0].digest, self._platform)
            entry = CacheEntry.parse(manifest, layout.config(manifest), key)
            for layer in entry.layers:
                layout.copy_blob(layer.descriptor, self._blobs.store)
        except ContextError as error:
            raise CorruptError("an index instead of an image") from error
        except OSError as error:
            raise CorruptError(f"can't read {layout.root}: {error.strerror}") from error
        return entry


class JoinedStore:
    """A store with others that are looked up after it; what they have is kept in the first on demand."""

    def __init__(self, first: CacheStore, others: Sequence[CacheStore], reporter: Reporter) -> None:
        self._first = first
        self._others = tuple(others)
        self._reporter = reporter
        self._borrowed: set[str] = set()

    @property
    def name(self) -> str:
        """The first one's."""
        return self._first.name

    def find(self, key: str) -> CacheEntry | None:
        """See CacheStore. One of the others that can't be read has nothing, and is told of."""
        found = self._first.find(key)
        for other in self._others:
            if found is not None:
                break
            try:
                found = other.find(key)
            except KnarrError as error:
                self._reporter.report(Note(f"--cache-from {other.name}: {error.message}", "warning"))
            if found is not None:
                self._borrowed.add(key)
        return found

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        """See CacheStore."""
        self._first.keep(entry, open_layer)

    def take_borrowed(self, key: str) -> bool:
        """Whether the first lacks an entry that another had; true once for a key."""
        is_borrowed = key in self._borrowed
        self._borrowed.discard(key)
        return is_borrowed


def _image_of(entry: CacheEntry, platform: Platform, open_layer: OpenLayer) -> FinishedImage:
    """An entry as it is stored."""
    config = entry.config(platform)
    manifest = parse_manifest(entry.manifest(config))
    assert isinstance(manifest, Manifest)
    return FinishedImage.assemble(manifest, config, entry.layers, open_layer)


def _checked(key: str) -> str:
    assert _KEY.fullmatch(key), "a key is a digest in hex"
    return key
