"""A layer's plain tar stream, checked against its diff_id while it is read.

A second thread decompresses and hashes ahead of the reader, a few pieces at most.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from types import TracebackType
from typing import Self

from knarr.errors import CorruptError
from knarr.layers.compression import Compression, open_decompressed
from knarr.layers.source import ByteSource

_CHUNK_BYTES = 1024 * 1024
_QUEUED_CHUNKS = 4
_MAX_TRAILING_BYTES = 64 * 1024**3
"""Zeros are next to nothing when they are packed, and take time to be read."""


class LayerReader:
    """Reads like a file; use it in a `with` block, which ends the thread.

    The compressed bytes are the caller's, to verify and to close; after the block they are read no more.
    """

    def __init__(
        self, stream: ByteSource, *, expected_diff_id: str | None, compression: Compression | None
    ) -> None:
        self._stream = stream
        self._expected = expected_diff_id
        self._compression = compression
        self._hash = hashlib.sha256()
        self._queue: Queue[bytes | None] = Queue(_QUEUED_CHUNKS)
        self._stopped = False
        self._ended = False
        self._rest = b""
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="layer")
        self._reading = self._threads.submit(self._read_ahead)

    def _read_ahead(self) -> None:
        try:
            source = open_decompressed(self._stream, compression=self._compression)
            while not self._stopped and (data := source.read(_CHUNK_BYTES)):
                self._hash.update(data)
                self._queue.put(data)
        finally:
            self._queue.put(None)

    def read(self, size: int, /) -> bytes:
        """1 to `size` bytes, b"" at the end; CorruptError where the compressed data is damaged."""
        if not self._rest:
            if self._ended:
                return b""
            data = self._queue.get()
            if data is None:
                self._ended = True
                self._reading.result()
                return b""
            if len(data) <= size:
                return data
            self._rest = data
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def verify(self) -> str:
        """Read what is left; the diff_id ("sha256:" with hex), or CorruptError for one not expected.

        It is of all bytes, those behind the end of the archive included (as in containerd).
        """
        left = _MAX_TRAILING_BYTES
        while data := self.read(_CHUNK_BYTES):
            left -= len(data)
            if left < 0:
                raise CorruptError(f"more than {_MAX_TRAILING_BYTES} bytes follow the end of a layer")
        self._reading.result()
        diff_id = f"sha256:{self._hash.hexdigest()}"
        if self._expected is not None and diff_id != self._expected:
            raise CorruptError(
                f"a layer unpacks to {diff_id} where the image's config has {self._expected}",
                hint="the image is damaged or was tampered with; push it again",
            )
        return diff_id

    def close(self) -> None:
        """End the thread, whether or not everything was read."""
        self._stopped = True
        while not self._ended:
            self._ended = self._queue.get() is None
        self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_layer(
    stream: ByteSource, *, expected_diff_id: str | None = None, compression: Compression | None = None
) -> LayerReader:
    """Read a layer's compressed bytes; how they are packed is detected unless `compression` says it."""
    return LayerReader(stream, expected_diff_id=expected_diff_id, compression=compression)
