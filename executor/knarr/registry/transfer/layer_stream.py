"""A layer that is read while it arrives."""

import contextlib
import io
import queue
import threading
from types import TracebackType

from knarr.errors import KnarrError, OutputError, RegistryError
from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.transfer.blob_download import BlobSink
from knarr.registry.transfer.pull import blob_chunks
from knarr.registry.transfer.watch import TransferWatch

_QUEUED_CHUNKS = 16
_POLL_S = 0.2
_GIVE_UP_S = 1.0


class LayerStream(io.RawIOBase):
    """A layer's compressed bytes as a file; the caller closes it. A read may give fewer bytes than asked for.

    The blob is written to the store by a thread that downloads and hashes while the caller reads: after a
    `close` that did not raise, the store has it, whether or not the caller read to the end. Leaving `with` by
    an exception gives the download up. Reads raise RegistryError, CorruptError, OutputError; the end of the
    file is reached only if size and digest are right.
    """

    def __init__(self, client: Client, reference: Reference, descriptor: Descriptor, store: BlobSink) -> None:
        super().__init__()
        self._client = client
        self._reference = reference
        self._descriptor = descriptor
        self._store = store
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED_CHUNKS)
        self._rest = memoryview(b"")
        self._error: KnarrError | None = None
        self._is_stored = False
        self._is_ended = False
        self._is_unread = threading.Event()
        """Nobody reads any more: chunks go to the store only."""
        self._is_abandoned = threading.Event()
        self._thread = threading.Thread(target=self._download, name="layer", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, all that are left for -1; empty at the verified end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 30), b""))
        if not self._rest:
            self._next()
        if size >= len(self._rest):
            data, self._rest = self._rest, memoryview(b"")
            # The view spans the whole chunk: its object is handed out without a copy.
            return data.obj if isinstance(data.obj, bytes) and len(data.obj) == len(data) else bytes(data)
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def readall(self) -> bytes:
        """All bytes that are left."""
        return self.read(-1)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a part of the buffer; 0 at the verified end."""
        if not self._rest:
            self._next()
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        """Wait until the blob is in the store; raises where it can't be."""
        if self.closed:
            return
        super().close()
        self._is_unread.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        if self._is_abandoned.is_set():
            self._queue.put(None)  # for a reader that waits in another thread
            self._thread.join(_GIVE_UP_S)  # no longer: it may wait for a registry that hangs
            return
        self._thread.join()
        self._raise_error()

    def abort(self) -> None:
        """Give the download up; the store gets nothing, unless it has it already."""
        self._is_abandoned.set()
        self.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # Not IOBase's, which closes: garbage collection must neither wait for a download nor raise.
        self._is_abandoned.set()

    def _next(self) -> None:
        if self._is_ended:
            return
        chunk = self._queue.get()
        if self._is_abandoned.is_set():
            raise RegistryError("the download was given up")
        if chunk is None:
            self._is_ended = True
            self._thread.join()
            self._raise_error()
        else:
            self._rest = memoryview(chunk)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._is_stored:
            raise RegistryError(f"the download of blob {self._descriptor.digest} ended early")

    def _download(self) -> None:
        started = self._client.clock()
        watch = TransferWatch.pull(self._client, self._reference, self._descriptor)
        try:
            with self._store.writer(self._descriptor) as writer:
                for chunk in blob_chunks(self._client, self._reference, self._descriptor):
                    if self._is_abandoned.is_set():
                        raise RegistryError("the download was given up")
                    writer.write(chunk)
                    watch.add(len(chunk))
                    self._put(chunk)
            self._is_stored = True
        except KnarrError as error:
            self._error = error
        except OSError as error:
            self._error = OutputError(
                f"can't keep blob {self._descriptor.digest}: {error.strerror}",
                hint="KNARR_DIR names a directory on a disk with room for the image",
            )
        finally:
            self._put(None)
        if self._is_stored:
            seconds = self._client.clock() - started
            watch.end("pulled", seconds)

    def _put(self, chunk: bytes | None) -> None:
        while not (self._is_unread.is_set() or self._is_abandoned.is_set()):
            try:
                self._queue.put(chunk, timeout=_POLL_S)
                return
            except queue.Full:
                continue
