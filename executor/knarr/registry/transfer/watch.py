"""Reports how far a blob has come on its way."""

from typing import BinaryIO, Self, cast

from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.progress import Direction, Transfer, TransferProgress, Transferred, TransferStarted
from knarr.registry.client import Client
from knarr.registry.http.message import BlobSource

_STEP_BYTES = 256 * 1024


class TransferWatch:
    """One blob's way from or to a repository; its first bytes are its beginning."""

    def __init__(
        self, client: Client, direction: Direction, place: Reference, descriptor: Descriptor
    ) -> None:
        self._reporter = client.reporter
        self._transfer = Transfer(direction, place.name, str(descriptor.digest), descriptor.size_bytes)
        self._done_bytes = 0
        self._told_bytes: int | None = None

    @classmethod
    def pull(cls, client: Client, reference: Reference, descriptor: Descriptor) -> Self:
        """The watch of a download."""
        return cls(client, "pull", reference, descriptor)

    @classmethod
    def push(cls, client: Client, destination: Reference, descriptor: Descriptor) -> Self:
        """The watch of an upload."""
        return cls(client, "push", destination, descriptor)

    def add(self, count: int) -> None:
        """So many bytes more have come."""
        if self._told_bytes is None:
            self.begin()
        self._done_bytes += count
        if self._done_bytes - (self._told_bytes or 0) >= _STEP_BYTES:
            self._told_bytes = self._done_bytes
            self._reporter.report(TransferProgress(self._transfer, self._done_bytes))

    def begin(self) -> None:
        """The first byte is about to be moved, or moved anew."""
        self._done_bytes = self._told_bytes = 0
        self._reporter.report(TransferStarted(self._transfer))

    def end(self, how: str, duration_s: float) -> None:
        """The blob is there."""
        transfer = self._transfer
        self._reporter.report(
            Transferred(how, transfer.digest, transfer.size_bytes, duration_s, transfer.repository)
        )

    def of_source(self, source: BlobSource) -> BlobSource:
        """The same source, its bytes counted as they are read; each opening begins anew."""

        def opened() -> BinaryIO:
            file = source()
            self.begin()
            return cast(BinaryIO, _CountedFile(file, self))

        return opened


class _CountedFile:
    """A file of which a request reads its body."""

    def __init__(self, file: BinaryIO, watch: TransferWatch) -> None:
        self._file = file
        self._watch = watch

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._watch.add(len(data))
        return data

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
