"""Bytes of blobs from a registry, going on where a connection broke."""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from knarr.errors import CorruptError, RegistryError
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.registry.client import Client
from knarr.registry.http.failures import ConnectionFaultError
from knarr.registry.http.hosts import Endpoint
from knarr.registry.http.message import Request, pull_scope
from knarr.registry.http.transport import Response

CHUNK_BYTES = 512 * 1024
_PROGRESS_BYTES = 1024 * 1024
_MAX_CUTS = 100
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_RANGE_REFUSED = frozenset({400, 416, 501})


class Writable(Protocol):
    """Takes the bytes of one blob."""

    def write(self, data: bytes) -> int:
        """Append data."""
        ...


class BlobSink(Protocol):
    """Where blobs are kept by digest."""

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        ...

    def writer(self, expected: Descriptor) -> AbstractContextManager[Writable]:
        """Takes a blob, which is kept when the block ends well.

        Raises CorruptError where digest or size are not the expected ones; then nothing is kept.
        """
        ...


class BlobDownload:
    """One blob's bytes in order, each once; the digest is left to the caller.

    A cut is healed by asking for the rest. A registry that answers with the whole, or refuses, is read from
    the start again; what is known is skipped. Gives up after five cuts without a megabyte between them.
    """

    def __init__(self, client: Client, endpoint: Endpoint, repository: str, descriptor: Descriptor) -> None:
        self._client = client
        self._endpoint = endpoint
        self._repository = endpoint.repository(repository)
        self._descriptor = descriptor
        self._offset = 0
        self._has_ranges = True

    def chunks(self) -> Iterator[bytes]:
        """All bytes, in chunks of half a megabyte and the rest.

        Raises RegistryError; CorruptError where they are more or fewer than the descriptor's size.
        """
        size = self._descriptor.size_bytes
        cuts, useless_cuts, last_offset = 0, 0, 0
        while True:
            try:
                yield from self._rest()
                if self._offset < size:
                    raise ConnectionFaultError(
                        f"{self._descriptor.digest}: {size - self._offset} bytes are missing"
                    )
                return
            except ConnectionFaultError as fault:
                has_progress = self._offset - last_offset >= _PROGRESS_BYTES
                cuts, useless_cuts = cuts + 1, 1 if has_progress else useless_cuts + 1
                last_offset = self._offset
                if cuts >= _MAX_CUTS or useless_cuts >= self._client.policy.tries:
                    raise RegistryError(
                        f"can't {self._doing}: {fault.message}",
                        hint="the connection breaks again and again; is a proxy cutting it?",
                    ) from fault
                self._client.sleep(self._client.policy.first_wait_s * min(useless_cuts, 4))

    @property
    def _doing(self) -> str:
        return f"read blob {self._descriptor.digest} of {self._endpoint.registry}/{self._repository}"

    def _rest(self) -> Iterator[bytes]:
        response = self._open()
        try:
            skip = 0 if response.status == 206 else self._offset
            if response.status == 206 and not self._continues(response):
                self._has_ranges = False
                raise ConnectionFaultError(f"{self._doing}: the answer is not the range that was asked for")
            self._check_length(response, skip)
            for chunk in _joined(_without_start(response.chunks(), skip)):
                self._offset += len(chunk)
                if self._offset > self._descriptor.size_bytes:
                    raise CorruptError(f"blob {self._descriptor.digest} is longer than promised")
                yield chunk
        finally:
            response.close()

    def _open(self) -> Response:
        is_partial = self._offset > 0 and self._has_ranges
        request = Request(
            "GET",
            self._endpoint,
            self._endpoint.url(self._repository, f"blobs/{self._descriptor.digest}"),
            self._doing,
            self._repository,
            (pull_scope(self._repository),),
            {"Range": f"bytes={self._offset}-"} if is_partial else {},
            accepted=frozenset({200, 206}) | _RANGE_REFUSED if is_partial else frozenset({200}),
        )
        response = self._client.open(request)
        if response.status in _RANGE_REFUSED:
            response.close()
            self._has_ranges = False
            return self._open()
        return response

    def _continues(self, response: Response) -> bool:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if found is None:
            return False
        size = self._descriptor.size_bytes
        return int(found[1]) == self._offset and int(found[2]) < size and found[3] in ("*", str(size))

    def _check_length(self, response: Response, skip: int) -> None:
        stated = response.headers.get("content-length", "")
        expected = self._descriptor.size_bytes - (self._offset - skip)
        if stated.isdigit() and int(stated) > expected:
            raise CorruptError(
                f"blob {self._descriptor.digest} has {stated} bytes at {self._endpoint.registry} "
                f"where {expected} were promised"
            )


class BlobReader(io.RawIOBase):
    """A blob as a file; its end is reached only if size and digest are right, else CorruptError."""

    def __init__(self, chunks: Iterator[bytes], descriptor: Descriptor) -> None:
        super().__init__()
        self._chunks = chunks
        self._descriptor = descriptor
        self._hash = hashlib.new(descriptor.digest.algorithm)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        """Fill a part of the buffer; 0 at the verified end."""
        if not self._rest:
            chunk = next(self._chunks, b"")
            self._hash.update(chunk)
            if not chunk:
                self._check()
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        """Drop the connection where the blob was not read to its end."""
        if not self.closed:
            self._chunks = iter(())
        super().close()

    def _check(self) -> None:
        actual = Digest(self._descriptor.digest.algorithm, self._hash.hexdigest())
        if actual != self._descriptor.digest:
            raise CorruptError(f"blob {self._descriptor.digest} came with other content: {actual}")


def _without_start(chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    for chunk in chunks:
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        yield chunk[skip:] if skip else chunk
        skip = 0


def _joined(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in larger pieces; what came before a fault is handed out first."""
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= CHUNK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    except ConnectionFaultError:
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)
