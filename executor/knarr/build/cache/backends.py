"""Where cache entries are kept: a repository of a registry, a directory of OCI layouts."""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from knarr.build.blobs import Blobs
from knarr.build.cache.entry import CacheEntry
from knarr.build.image import ImageLayer
from knarr.errors import CorruptError, OutputError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Manifest, decode_json_object, parse_manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.failures import NotFoundError
from knarr.registry.push import put_manifest
from knarr.registry.resolve import resolve
from knarr.registry.uploader import BlobUploader
from knarr.store import Store

_KEY = re.compile(r"[0-9a-f]{64}")


OpenLayer = Callable[[ImageLayer], BinaryIO]


class Backend(Protocol):
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


class RepositoryBackend:
    """A repository: an entry is an image, a key its tag."""

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
        """See Backend."""
        tagged = Reference(self._repository.registry, self._repository.repository, tag=_checked(key))
        try:
            found = resolve(self._lookups, tagged, self._platform)
        except NotFoundError:
            return None
        entry = CacheEntry.parse(found.manifest, found.config, key)
        if entry.layer is None:
            return entry
        return entry.at(replace(entry.layer, origin=found.reference))

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        """See Backend."""
        config = entry.config(self._platform)
        manifest = entry.manifest(config)
        descriptor = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
        with BlobUploader(self._client, self._repository, jobs=1) as uploader:
            for layer in entry.layers:
                uploader.submit(layer.descriptor, partial(open_layer, layer), mount_from=layer.origin)
            uploader.submit(descriptor, partial(_bytes, config))
            uploader.wait()
        tagged = Reference(self._repository.registry, self._repository.repository, tag=_checked(entry.key))
        put_manifest(self._client, tagged, manifest, media_types.OCI_MANIFEST, announced=False)


class LayoutBackend:
    """A directory of OCI image layouts, one an entry, whose names are the keys."""

    def __init__(self, directory: Path, blobs: Blobs, platform: Platform) -> None:
        self._directory = directory
        self._blobs = blobs
        self._platform = platform

    @property
    def name(self) -> str:
        """The directory, as the flag has it."""
        return f"oci:{self._directory}"

    def find(self, key: str) -> CacheEntry | None:
        """See Backend. The layer is brought into the build's store, verified."""
        path = self._directory / _checked(key)
        if not path.is_dir():
            return None
        layout = Store(path, durable=True)
        try:
            manifest, config = _read_layout(layout)
        except OSError as error:
            raise OutputError(f"can't read {path}: {error.strerror}") from error
        entry = CacheEntry.parse(manifest, config, key)
        for layer in entry.layers:
            self._take(layout, layer.descriptor)
        return entry

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        """See Backend. An entry appears whole or not at all; one that is there is replaced."""
        config = entry.config(self._platform)
        manifest = entry.manifest(config)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._write(entry, config, manifest, open_layer)
        except OSError as error:
            raise OutputError(f"can't write {self.name}: {error.strerror}") from error

    def _write(self, entry: CacheEntry, config: bytes, manifest: bytes, open_layer: OpenLayer) -> None:
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
        try:
            layout = Store.create(made, durable=True)
            for layer in entry.layers:
                with open_layer(layer) as source, layout.writer(layer.descriptor) as writer:
                    shutil.copyfileobj(source, writer)
            layout.add(config)
            digest = layout.add(manifest)
            layout.write_index([Descriptor(media_types.OCI_MANIFEST, digest, len(manifest))])
            layout.finish()
            os.chmod(made, 0o755)
            target = self._directory / _checked(entry.key)
            if target.exists():
                old = made.with_name(f"{made.name}-old")
                target.rename(old)
                shutil.rmtree(old, ignore_errors=True)
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise

    def _take(self, layout: Store, descriptor: Descriptor) -> None:
        if self._blobs.store.has(descriptor.digest):
            return
        try:
            source = layout.open(descriptor.digest)
        except OSError as error:
            raise CorruptError(f"the layer is missing: {error.strerror}") from error
        with source, self._blobs.store.writer(descriptor) as writer:
            shutil.copyfileobj(source, writer)


def _read_layout(layout: Store) -> tuple[Manifest, ImageConfig]:
    index = decode_json_object((layout.root / "index.json").read_bytes()[:MAX_MANIFEST_BYTES], "index.json")
    manifests = index.get("manifests")
    if not isinstance(manifests, list) or len(manifests) != 1:
        raise CorruptError("not a layout of one image")
    descriptor = Descriptor.parse(manifests[0])
    manifest = parse_manifest(layout.read(descriptor.digest, limit_bytes=MAX_MANIFEST_BYTES))
    if not isinstance(manifest, Manifest):
        raise CorruptError("an index instead of an image")
    config = ImageConfig.parse(layout.read(manifest.config.digest, limit_bytes=MAX_MANIFEST_BYTES))
    return manifest, config


def _checked(key: str) -> str:
    assert _KEY.fullmatch(key), "a key is a digest in hex"
    return key


def _bytes(data: bytes) -> BinaryIO:
    return io.BytesIO(data)
