"""Blobs by digest, placed as in an OCI image layout (image-spec image-layout.md)."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from knarr.errors import CorruptError, OutputError
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor

_CHUNK_BYTES = 1024 * 1024
INGEST = "ingest"
"""Directory of the files that are being written, whose names are those of `mkstemp`."""


class BlobWriter:
    """Takes the bytes of one blob; they are in the store only after `commit`."""

    def __init__(self, file: BinaryIO, algorithm: str) -> None:
        self._file = file
        self._hash = hashlib.new(algorithm)
        self.size_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append data."""
        view = memoryview(data).cast("B")
        self._hash.update(view)
        written = 0
        while written < len(view):  # an unbuffered write may be a short one, on a full disk as a rule
            written += self._file.write(view[written:])
        self.size_bytes += written
        return written

    @property
    def digest(self) -> Digest:
        """Digest of what has been written so far."""
        return Digest(self._hash.name, self._hash.hexdigest())


class Store:
    """A directory of blobs.

    A blob appears under its digest in one step, complete or not at all. With `durable`, also a power cut
    after `add` returned can't lose it: file, then name, then directory are synced, in that order.
    """

    def __init__(self, root: Path, *, durable: bool) -> None:
        self.root = root
        self._durable = durable

    @classmethod
    def create(cls, root: Path, *, durable: bool) -> "Store":
        """Make the store's directories where they are missing; OutputError where that is impossible."""
        try:
            (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            (root / INGEST).mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"can't make a store in {root}: {error.strerror}") from error
        return cls(root, durable=durable)

    def path(self, digest: Digest) -> Path:
        """Where a blob is, or would be."""
        return self.root / "blobs" / digest.algorithm / digest.encoded

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        return self.path(digest).is_file()

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here, in its size."""
        try:
            return self.has(descriptor.digest) and self.size_bytes(descriptor.digest) == descriptor.size_bytes
        except FileNotFoundError:
            return False

    def size_bytes(self, digest: Digest) -> int:
        """Bytes of a blob that is here."""
        return self.path(digest).stat().st_size

    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes; the caller closes. FileNotFoundError where it isn't here."""
        return self.path(digest).open("rb")

    def read(self, digest: Digest, *, limit_bytes: int) -> bytes:
        """A small blob whole, verified; CorruptError where it is larger than the limit or damaged."""
        with self.open(digest) as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise CorruptError(f"blob {digest} is larger than {limit_bytes} bytes")
        if hashlib.new(digest.algorithm, data).hexdigest() != digest.encoded:
            raise CorruptError(f"blob {digest} in {self.root} is damaged", hint="remove it, then build again")
        return data

    def add(self, data: bytes) -> Digest:
        """Keep a small blob."""
        with self.writer() as writer:
            writer.write(data)
        return writer.digest

    def copy(self, descriptor: Descriptor, source: BinaryIO) -> None:
        """Keep a blob that a file has from its start. Raises OSError, CorruptError as `writer` does."""
        with self.writer(descriptor) as writer:
            shutil.copyfileobj(source, writer, _CHUNK_BYTES)

    @contextmanager
    def writer(self, expected: Descriptor | None = None) -> Iterator[BlobWriter]:
        """Write a blob; it is kept when the block ends well, and forgotten when it raises.

        Raises CorruptError where digest or size are not the expected ones; then nothing is kept.
        """
        descriptor, name = tempfile.mkstemp(dir=self.root / INGEST)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                writer = BlobWriter(file, expected.digest.algorithm if expected else "sha256")
                yield writer
                if expected is not None:
                    _check(writer, expected)
                os.fchmod(file.fileno(), 0o644)
                if self._durable:
                    os.fsync(file.fileno())
            target = self.path(writer.digest)
            target.parent.mkdir(exist_ok=True)
            os.replace(name, target)
            self._sync_directory(target.parent)
        except BaseException:
            with _ignore_missing():
                os.unlink(name)
            raise

    def write_file(self, name: str, data: bytes) -> None:
        """Put a file beside the blobs, in one step."""
        descriptor, temporary = tempfile.mkstemp(dir=self.root / INGEST)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            if self._durable:
                os.fsync(file.fileno())
        os.replace(temporary, self.root / name)
        self._sync_directory(self.root)

    def _sync_directory(self, directory: Path) -> None:
        if not self._durable:
            return
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _ignore_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        pass


def _check(writer: BlobWriter, expected: Descriptor) -> None:
    if writer.size_bytes != expected.size_bytes:
        raise CorruptError(
            f"blob {expected.digest} has {writer.size_bytes} bytes where {expected.size_bytes} were promised"
        )
    if writer.digest != expected.digest:
        raise CorruptError(f"blob {expected.digest} came with other content: {writer.digest}")
