"""Base images that a warmer has put into a directory, as a build finds them there."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.errors import CorruptError
from knarr.images.layout import OciLayout
from knarr.images.store import Store
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.progress import Note, Reporter

LOCKS = ".warmer-locks"
"""Directory of the files that warmers lock, one an image, named like it."""

WAIT_S = 60.0
"""How long a build waits for a warmer that is at the same image."""

_POLL_S = 0.2


class LocalBaseCache:
    """A directory of OCI layouts, each named like the digest of its image; nothing is written to it.

    An entry counts for `ttl_s` after its directory was made. What is damaged is told once, then passed over.
    """

    def __init__(
        self,
        directory: Path,
        reporter: Reporter,
        *,
        ttl_s: float,
        now_s: float,
        sleep: Callable[[float], None],
    ) -> None:
        self._directory = directory
        self._reporter = reporter
        self._oldest_s = now_s - ttl_s
        self._sleep = sleep
        self._layouts: dict[Digest, OciLayout] = {}
        self._documents: dict[Digest, bytes] = {}
        self._warned: set[Path] = set()

    def has(self, digest: Digest) -> bool:
        """Whether there is a manifest, index or config, and it is sound."""
        if digest not in self._documents:
            data = self._read(digest)
            if data is not None:
                self._documents[digest] = data
        return digest in self._documents

    def read(self, digest: Digest, *, limit_bytes: int) -> bytes:
        """A document that is here."""
        data = self._documents[digest]
        assert len(data) <= limit_bytes
        return data

    @contextmanager
    def writer(self, _: Descriptor) -> Iterator["Dropped"]:
        """Takes what was fetched, and drops it: the directory is the warmer's."""
        yield Dropped()

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether a layer seems to be in an image that was found here."""
        return self._path(descriptor) is not None

    def copy(self, descriptor: Descriptor, store: Store) -> bool:
        """Bring a layer into a store, checked; False where it is not here, or damaged."""
        path = self._path(descriptor)
        if path is None:
            return False
        try:
            with path.open("rb") as source:
                store.copy(descriptor, source)
        except (OSError, CorruptError) as error:
            self._warn(path, error)
            return False
        return True

    def _path(self, descriptor: Descriptor) -> Path | None:
        paths = (layout.blobs.path(descriptor.digest) for layout in self._layouts.values())
        return next((path for path in paths if path not in self._warned and path.is_file()), None)

    def _read(self, digest: Digest) -> bytes | None:
        own = self._find(digest)
        for layout in ([own] if own is not None else []) + list(self._layouts.values()):
            if not layout.blobs.has(digest):
                continue
            try:
                data = layout.read(digest)
            except (OSError, CorruptError) as error:
                self._warn(layout.root, error)
                continue
            if layout is own:
                self._layouts[digest] = layout
            return data
        if own is not None and not own.blobs.has(digest):
            self._warn(own.root, CorruptError("its manifest is missing"))
        return None

    def _find(self, digest: Digest) -> OciLayout | None:
        """The layout of an image that counts; a warmer that is about to make it is waited for."""
        path = self._directory / str(digest)
        if not self._is_fresh(path):
            _wait_for_lock(self._directory / LOCKS / str(digest), self._sleep)
        return OciLayout(path) if self._is_fresh(path) else None

    def _is_fresh(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime >= self._oldest_s
        except OSError:
            return False

    def _warn(self, path: Path, error: OSError | CorruptError) -> None:
        if path not in self._warned:
            self._warned.add(path)
            why = error.message if isinstance(error, CorruptError) else error.strerror
            self._reporter.report(Note(f"the cached base image in {path} is not used: {why}", "warning"))


class Dropped:
    """Takes bytes for nothing."""

    def write(self, data: bytes) -> int:
        """Drop them."""
        return len(data)


def _wait_for_lock(path: Path, sleep: Callable[[float], None]) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for _ in range(int(WAIT_S / _POLL_S)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                sleep(_POLL_S)
            else:
                return
    finally:
        os.close(descriptor)
