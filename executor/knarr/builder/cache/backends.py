"""Where cache entries are kept: a repository of a registry, a directory of OCI layouts."""

import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from knarr.builder.cache.entry import CacheEntry
from knarr.errors import CorruptError, OutputError
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Manifest, decode_json_object, parse_manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.registry.blob_check import check_blob
from knarr.registry.client import Client
from knarr.registry.failures import NotFoundError
from knarr.registry.message import BlobSource
from knarr.registry.push import put_manifest
from knarr.registry.resolve import resolve
from knarr.registry.uploader import upload_blob

_KEY = re.compile(r"[0-9a-f]{64}")

OpenLayer = Callable[[Layer], BinaryIO]


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
        """See Backend. The layer itself is not read; that it is there, in its size, is asked for."""
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
        """See Backend."""
        config = entry.config(self._platform)
        manifest = entry.manifest(config)
        for layer in entry.layers:
            origin = layer.origin
            is_near = origin is not None and origin.registry == self._repository.registry
            self._upload(
                layer.descriptor,
                partial(open_layer, layer),
                mount_from=origin.repository if origin is not None and is_near else None,
            )
        descriptor = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
        self._upload(descriptor, partial(io.BytesIO, config))
        put_manifest(
            self._client, self._tagged(entry.key), manifest, media_types.OCI_MANIFEST, announced=False
        )

    def _upload(self, descriptor: Descriptor, source: BlobSource, *, mount_from: str | None = None) -> None:
        upload_blob(self._client, self._repository, descriptor, source, mount_from=mount_from)

    def _tagged(self, key: str) -> Reference:
        return Reference(self._repository.registry, self._repository.repository, tag=_checked(key))


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
        try:
            if not stat.S_ISDIR(path.stat().st_mode):
                raise CorruptError("not a directory")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"can't read {path}: {error.strerror}") from error
        layout = Store(path, durable=True)
        try:
            manifest, config = _read_layout(layout)
        except OSError as error:
            raise CorruptError(f"can't read {path}: {error.strerror}") from error
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
            if os.path.lexists(target):
                old = made.with_name(f"{made.name}-old")
                target.rename(old)
                _remove(old)
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
    with (layout.root / "index.json").open("rb") as file:
        index = decode_json_object(file.read(MAX_MANIFEST_BYTES + 1), "index.json")
    manifests = index.get("manifests")
    if not isinstance(manifests, list) or len(manifests) != 1:
        raise CorruptError("not a layout of one image")
    descriptor = Descriptor.parse(manifests[0])
    manifest = parse_manifest(layout.read(descriptor.digest, limit_bytes=MAX_MANIFEST_BYTES))
    if not isinstance(manifest, Manifest):
        raise CorruptError("an index instead of an image")
    config = ImageConfig.parse(layout.read(manifest.config.digest, limit_bytes=MAX_MANIFEST_BYTES))
    return manifest, config


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _checked(key: str) -> str:
    assert _KEY.fullmatch(key), "a key is a digest in hex"
    return key
