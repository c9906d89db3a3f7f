"""What is asked of the cache, and the cache that does it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from knarr.builder.cache.backends import Backend, LayoutBackend, RepositoryBackend
from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.step_cache import CacheRules
from knarr.images.blobs import Blobs
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.registry.client import Client


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where layers are kept, how long they count."""

    place: Reference | Path
    """A repository, or a directory of OCI image layouts."""
    ttl_s: float
    rules: CacheRules
    writes: bool = True
    """False only looks up."""
    base_directory: Path | None = None
    """Where a warmer has put base images, if it has."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What of it lies on this machine."""
        places = (self.place, self.base_directory)
        return tuple(place for place in places if isinstance(place, Path))


@contextmanager
def open_cache(
    settings: CacheSettings, client: Client, blobs: Blobs, platform: Platform, *, now_s: int
) -> Iterator[LayerCache]:
    """The cache of a build; leaving the block waits for what is still being kept."""
    with ExitStack() as exits:
        backend: Backend
        if isinstance(settings.place, Path):
            backend = LayoutBackend(settings.place, blobs, platform)
        else:
            patient = exits.enter_context(client.for_cache(patient=True))
            hasty = exits.enter_context(client.for_cache(patient=False))
            blobs.reach(settings.place, patient)
            backend = RepositoryBackend(patient, hasty, settings.place, platform)
        cache = LayerCache(
            backend,
            client.reporter,
            now_s=now_s,
            ttl_s=settings.ttl_s,
            writes=settings.writes,
            clock=client.clock,
        )
        yield exits.enter_context(cache)
