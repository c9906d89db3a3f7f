"""The blobs of a build: pulled when something reads them, written when a step makes a layer."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO, cast

from knarr.errors import CorruptError
from knarr.images.image import Layer
from knarr.images.local_base_cache import LocalBaseCache
from knarr.images.store import Store
from knarr.layers.compression import MEDIA_TYPE_OF_COMPRESSION, Compression, CompressionSettings
from knarr.layers.entry import LayerItem
from knarr.layers.read import LayerReader, open_layer
from knarr.layers.write import write_layer
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.progress import Phase
from knarr.registry.client import Client
from knarr.registry.transfer.layer_stream import LayerStream
from knarr.registry.transfer.pull import fetch_blob

_JOBS = 3
_KEPT_XATTRS = frozenset({"security.capability"})


@dataclass(frozen=True, slots=True)
class LayerRules:
    """What every layer that a build makes has in common: compression, the latest time of a file."""

    compression: CompressionSettings = field(default_factory=CompressionSettings)
    latest_s: int | None = None
    """Files that are younger get this time, seconds since 1970 (SOURCE_DATE_EPOCH)."""

    @property
    def key_parts(self) -> tuple[str, ...]:
        """What makes the layers other than those of a build without flags, for keys of the layer cache."""
        parts = {
            f"compression {self.compression.compression.value}": self.compression.compression
            is not Compression.GZIP,
            f"latest {self.latest_s}": self.latest_s is not None,
        }
        return tuple(part for part, is_unusual in parts.items() if is_unusual)

    def kept(self, item: LayerItem) -> LayerItem:
        """The item as the layer has it.

        Of its attributes capabilities alone are kept, as containerd's differ has it.
        """
        entry = item.entry
        if any(name not in _KEPT_XATTRS for name in entry.xattrs):
            kept = {name: value for name, value in entry.xattrs.items() if name in _KEPT_XATTRS}
            entry = replace(entry, xattrs=kept)
        if self.latest_s is not None and entry.mtime_ns > self.latest_s * 10**9:
            entry = replace(entry, mtime_ns=self.latest_s * 10**9)
        return item if entry is item.entry else replace(item, entry=entry)


class Blobs:
    """The build's store, filled from registries on demand; safe to use from several threads."""

    def __init__(
        self,
        store: Store,
        client: Client,
        rules: LayerRules | None = None,
        *,
        local_bases: LocalBaseCache | None = None,
    ) -> None:
        """`local_bases` may have layers of base images on this machine."""
        self._local_bases = local_bases
        self.store = store
        self._client = client
        self.reporter = client.reporter
        self.rules = rules or LayerRules()
        self._pool = ThreadPoolExecutor(_JOBS, thread_name_prefix="blobs")
        self._coming: dict[Digest, Future[None]] = {}
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give up downloads, and wait for none: a registry that hangs must not hold up a failure."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def reach(self, repository: Reference, client: Client) -> None:
        """Pull what is in a repository with a client of its own."""
        self._clients[repository.name] = client

    def prefetch(self, layers: Sequence[Layer]) -> None:
        """Begin to pull what `open` will ask for next: all that is missing but the first.

        The first is read while it arrives.
        """
        for layer in [each for each in layers if self._is_missing(each)][1:]:
            self._pull(layer)

    def ensure(self, layers: Iterable[Layer]) -> None:
        """Bring layers into the store, several at once. Raises RegistryError, CorruptError."""
        missing = [layer for layer in layers if self._is_missing(layer)]
        for layer, future in [(layer, self._pull(layer)) for layer in missing]:
            try:
                future.result()
            except CorruptError as error:
                raise _of_layer(error, layer) from error

    @contextmanager
    def open(self, layer: Layer) -> Iterator[LayerReader]:
        """A layer's plain tar stream; a block that ends well has verified all of it."""
        expected = str(layer.diff_id)
        try:
            with self._open_packed(layer) as packed, open_layer(packed, expected_diff_id=expected) as reader:
                with _aborted_on_failure(packed):
                    yield reader
                    reader.verify()
        except CorruptError as error:
            raise _of_layer(error, layer) from error

    @contextmanager
    def open_part(self, layer: Layer) -> Iterator[BinaryIO]:
        """The same for a layer that was read whole before, to be read up to some place."""
        with self._open_packed(layer) as packed, open_layer(packed) as reader:
            yield cast(BinaryIO, reader)

    def open_packed(self, layer: Layer) -> BinaryIO:
        """A layer's blob as it is pushed; the caller closes it."""
        self.ensure([layer])
        return self.store.open(layer.descriptor.digest)

    def write_layer(self, items: Iterable[LayerItem]) -> Layer:
        """Pack a layer of this build into the store."""
        self.reporter.report(Phase("compress"))
        with self.store.writer() as writer:
            written = write_layer(map(self.rules.kept, items), writer, compression=self.rules.compression)
        media_type = MEDIA_TYPE_OF_COMPRESSION[self.rules.compression.compression]
        descriptor = Descriptor(media_type, Digest.parse(written.digest), written.size_bytes)
        return Layer(descriptor, Digest.parse(written.diff_id))

    @contextmanager
    def _open_packed(self, layer: Layer) -> Iterator[BinaryIO]:
        """A blob from the store, or while it arrives; then others who want it wait for that download."""
        digest = layer.descriptor.digest
        if (
            self._local_bases is not None
            and self._is_missing(layer)
            and self._local_bases.holds(layer.descriptor)
        ):
            self._pull(layer).result()
        with self._lock:
            is_missing = self._is_missing(layer)
            # A download that failed says nothing of a layer that was made since.
            coming = self._coming.get(digest) if is_missing else None
            if coming is None and is_missing:
                streamed = self._coming[digest] = Future[None]()
            else:
                streamed = None
        if streamed is None:
            if coming is not None:
                coming.result()
            with self.store.open(digest) as file:
                yield file
            return
        try:
            with LayerStream(self._client_of(layer), _origin(layer), layer.descriptor, self.store) as stream:
                yield cast(BinaryIO, stream)
        except BaseException as error:
            streamed.set_exception(error)
            raise
        streamed.set_result(None)

    def _client_of(self, layer: Layer) -> Client:
        origin = _origin(layer)
        return self._clients.get(Reference(origin.registry, origin.repository).name, self._client)

    def _is_missing(self, layer: Layer) -> bool:
        return not self.store.has(layer.descriptor.digest)

    def _pull(self, layer: Layer) -> Future[None]:
        digest = layer.descriptor.digest
        with self._lock:
            if digest not in self._coming:
                self._coming[digest] = self._pool.submit(self._fetch, layer)
            return self._coming[digest]

    def _fetch(self, layer: Layer) -> None:
        if self._local_bases is None or not self._local_bases.copy(layer.descriptor, self.store):
            fetch_blob(self._client_of(layer), _origin(layer), layer.descriptor, self.store)


@contextmanager
def _aborted_on_failure(packed: BinaryIO) -> Iterator[None]:
    """Give a download up before its reader is closed, which would wait for bytes that may never come."""
    try:
        yield
    except BaseException:
        if isinstance(packed, LayerStream):
            packed.abort()
        raise


def _of_layer(error: CorruptError, layer: Layer) -> CorruptError:
    of = f" of {layer.origin.registry}/{layer.origin.repository}" if layer.origin is not None else ""
    hint = error.hint or "the image in the registry is damaged: push it again"
    return CorruptError(f"layer {layer.descriptor.digest}{of}: {error.message}", hint=hint)


def _origin(layer: Layer) -> Reference:
    assert layer.origin is not None, "a layer of this build is in the store"
    return layer.origin
