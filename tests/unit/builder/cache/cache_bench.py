"""A cache on any backend, with a clock that moves when told."""

import io
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.keys import digest_parts
from knarr.builder.cache.layer_cache import LOOKUP_BUDGET_S, LayerCache
from knarr.builder.cache.stores import CacheStore, LayoutStore, RepositoryStore
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from support.registry_images import Events

AMD64 = Platform.parse("linux/amd64")
NOW_S = 1_700_000_000
DAY_S = 24 * 3600
BELOW = digest_parts(["below"])
DATA = b"a layer" * 1000
LAYER = Layer(Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(DATA), len(DATA)), Digest.of(b"plain"))


def key(number: int) -> str:
    return digest_parts(["key", str(number)])


def entry(number: int, **changes: object) -> CacheEntry:
    made = CacheEntry(LAYER, key(number), BELOW, NOW_S)
    return replace(made, **changes)  # type: ignore[arg-type]


def open_data(_: Layer) -> BinaryIO:
    return io.BytesIO(DATA)


@dataclass
class Clock:
    """A clock that moves when told; sleeping moves it."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Bench:
    """A cache on some backend, with what it reported."""

    blobs: Blobs
    client: Client
    events: Events
    clock: Clock
    place: Path
    exits: ExitStack

    def layouts(self) -> LayoutStore:
        return LayoutStore(self.place / "cache", self.blobs, AMD64)

    def repository(self, host: str) -> RepositoryStore:
        hasty = self.exits.enter_context(self.client.for_cache(patient=False))
        return RepositoryStore(self.client, hasty, Reference(host, "app/cache"), AMD64)

    def cache(
        self,
        backend: CacheStore,
        *,
        now_s: int = NOW_S,
        ttl_s: float = 14 * DAY_S,
        budget_s: float = LOOKUP_BUDGET_S,
    ) -> LayerCache:
        made = LayerCache(
            backend,
            self.events,
            open_data,
            now_s=now_s,
            ttl_s=ttl_s,
            writes=True,
            clock=self.clock,
            budget_s=budget_s,
        )
        return made

    @property
    def warnings(self) -> list[str]:
        notes = [event for event in self.events.events if isinstance(event, Note)]
        return [note.text for note in notes if note.level == "warning"]
