"""What keeping layers in the cache says when it fails."""

import threading
import time
from typing import BinaryIO

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.writer import CacheWriter
from knarr.errors import RegistryError
from knarr.images.image import Layer, OpenLayer
from knarr.progress import Event, Note


class _Failing:
    """A cache where two layers fail at the same moment."""

    name = "cache"

    def __init__(self) -> None:
        self._both = threading.Barrier(2)

    def find(self, key: str) -> CacheEntry | None:
        return None

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        self._both.wait(10)
        raise RegistryError("no such repository")


class _Slow:
    """A reporter that takes its time."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Note) and event.level == "warning":
            self.warnings.append(event.text)
            time.sleep(0.1)


def _nothing(layer: Layer) -> BinaryIO:
    raise AssertionError(layer)


def test_failures_at_the_same_moment_are_one_warning() -> None:
    slow = _Slow()
    writer = CacheWriter(_Failing(), slow, _nothing, clock=time.monotonic)
    for number in range(2):
        writer.keep(CacheEntry(None, f"{number}", "below", 0))
    writer.wait()
    assert len(slow.warnings) == 1
