"""Keeps layers in the cache, in the background."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import BinaryIO, cast

from knarr.builder.cache.background import Background
from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.stores import CacheStore
from knarr.errors import KnarrError
from knarr.images.image import Layer, OpenLayer
from knarr.progress import Note, Reporter

STALL_S = 10.0
"""How long the end of a build waits for the cache without a byte moving."""

_JOBS = 2
_POLL_S = 0.2


class CacheWriter:
    """Puts entries into a cache; the first failure ends it, with one warning. For one thread to use."""

    def __init__(
        self,
        backend: CacheStore,
        reporter: Reporter,
        open_layer: OpenLayer,
        *,
        clock: Callable[[], float],
        stall_s: float = STALL_S,
    ) -> None:
        self._backend = backend
        self._reporter = reporter
        self._open_layer = open_layer
        self._clock = clock
        self._stall_s = stall_s
        self._pool: Background[None] = Background(_JOBS)
        self._kept: list[Future[None]] = []
        self._moved_s = 0.0
        self._is_stopped = False
        self._has_warned = False
        self._warning = threading.Lock()

    def keep(self, entry: CacheEntry) -> None:
        """Put an entry into the cache soon."""
        if not self._is_stopped:
            self._kept.append(self._pool.submit(partial(self._keep, entry)))

    def hush(self) -> None:
        """Warn of no failure: the user knows already that the cache is of no use."""
        self._has_warned = True

    def stop(self) -> None:
        """Begin no more."""
        self._is_stopped = True
        for future in self._kept:
            future.cancel()

    def wait(self) -> None:
        """Return when all is kept, or when nothing has moved for a while: then the rest is given up."""
        self._moved_s = self._clock()
        pending = {future for future in self._kept if not future.cancelled()}
        while pending:
            done, pending = wait(pending, timeout=_POLL_S)
            for future in done:
                self._moved_s = self._clock()
                if not future.cancelled():
                    future.result()
            if pending and self._clock() - self._moved_s > self._stall_s:
                self._fail(f"nothing has moved for {self._stall_s:.0f} s")
                return

    def _keep(self, entry: CacheEntry) -> None:
        if self._is_stopped:
            return
        if entry.layer is not None:
            self._reporter.report(Note(f"Pushing layer {self._backend.name}:{entry.key} to cache now"))
        try:
            self._backend.keep(entry, self._open_watched)
        except KnarrError as error:
            self._fail(error.message)

    def _fail(self, why: str) -> None:
        with self._warning:  # several threads may fail at once
            is_first, self._has_warned = not self._has_warned, True
        if is_first:
            self._reporter.report(Note(f"layers are not kept in {self._backend.name}: {why}", "warning"))
        self.stop()

    def _open_watched(self, layer: Layer) -> BinaryIO:
        """Open a layer, noting when something of it is read."""
        return cast(BinaryIO, _Watched(self._open_layer(layer), self._move))

    def _move(self) -> None:
        self._moved_s = self._clock()


class _Watched(io.RawIOBase):
    """A file that tells when it is read."""

    def __init__(self, file: BinaryIO, on_read: Callable[[], None]) -> None:
        super().__init__()
        self._file = file
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        self._on_read()
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
