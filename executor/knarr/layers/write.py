"""A layer from its items to a sink, in one pass.

The caller's thread makes the tar with its hash (the diff_id), a second one compresses, hashes (the digest)
and writes; a short queue lies between them, so memory does not grow with the layer.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue
from typing import Protocol

from knarr.layers.compression import CompressionSettings, new_compressor
from knarr.layers.entry import LayerItem
from knarr.layers.tar.write import write_tar

_CHUNK_BYTES = 1024 * 1024
_QUEUED_CHUNKS = 4


class ByteSink(Protocol):
    """Where a layer goes: a file, a store's writer."""

    def write(self, data: bytes, /) -> object:
        """Take all of data."""
        ...


@dataclass(frozen=True, slots=True)
class WrittenLayer:
    """What was written; digests as "sha256:" with hex."""

    diff_id: str
    digest: str
    size_bytes: int


def write_layer(
    items: Iterable[LayerItem], sink: ByteSink, *, compression: CompressionSettings | None = None
) -> WrittenLayer:
    """Write one layer; the same items give the same bytes.

    Whatever items, contents or sink raise reaches the caller when both threads are done; the sink is left
    with a part of the layer then. UsageError for an impossible compression level comes before any work.
    """
    packer = _Packer(compression or CompressionSettings(), sink)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="layer") as threads:
        packing = threads.submit(packer.run)
        chunker = _Chunker(packer)
        finished = False
        try:
            write_tar(items, chunker.write)
            chunker.finish()
            finished = True
        except _SinkFailedError:
            # Only a sign to stop: the reason is the other thread's, and comes out of `result`.
            pass
        finally:
            packer.close(finished=finished)
        packing.result()
    return WrittenLayer(
        f"sha256:{chunker.hash.hexdigest()}",
        f"sha256:{packer.hash.hexdigest()}",
        packer.size_bytes,
    )


class _SinkFailedError(Exception):
    """The packing thread has given up."""


class _Packer:
    """The second thread's work, with the queue that feeds it."""

    def __init__(self, settings: CompressionSettings, sink: ByteSink) -> None:
        self._compressor = new_compressor(settings)
        self._sink = sink
        self._queue: Queue[bytes | None] = Queue(_QUEUED_CHUNKS)
        self._failed = False
        self._finished = False
        self.hash = hashlib.sha256()
        self.size_bytes = 0

    def put(self, chunk: bytes) -> None:
        if self._failed:
            raise _SinkFailedError
        self._queue.put(chunk)

    def close(self, *, finished: bool) -> None:
        """End the thread; unless `finished`, without the compressor's last bytes."""
        self._finished = finished
        self._queue.put(None)

    def run(self) -> None:
        ended = False
        try:
            while (chunk := self._queue.get()) is not None:
                self._emit(self._compressor.compress(chunk))
            ended = True
            if self._finished:
                self._emit(self._compressor.flush())
        finally:
            self._failed = True
            # The other thread may be waiting for room in the queue.
            while not ended and self._queue.get() is not None:
                pass

    def _emit(self, data: bytes) -> None:
        if data:
            self.hash.update(data)
            self._sink.write(data)
            self.size_bytes += len(data)


class _Chunker:
    """Cuts a stream into pieces of one size: the compressors are fast and deterministic with these."""

    def __init__(self, packer: _Packer) -> None:
        self._packer = packer
        self._buffer = bytearray()
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _CHUNK_BYTES:
            chunk = bytes(memoryview(buffer)[:_CHUNK_BYTES])
            del buffer[:_CHUNK_BYTES]
            self._emit(chunk)

    def finish(self) -> None:
        if self._buffer:
            self._emit(bytes(self._buffer))

    def _emit(self, chunk: bytes) -> None:
        self.hash.update(chunk)
        self._packer.put(chunk)
