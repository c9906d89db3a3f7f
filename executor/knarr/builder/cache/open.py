"""What is asked of the cache, and the cache that does it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.stores import CacheStore, LayoutStore, RepositoryStore
from knarr.builder.request.cache_settings import CacheSettings
from knarr.images.blobs import Blobs
from knarr.oci.platform import Platform
from knarr.registry.client import Client


@contextmanager
def open_cache(
    settings: CacheSettings, client: Client, blobs: Blobs, platform: Platform, *, now_s: int
) -> Iterator[LayerCache]:
    """The cache of a build; leaving the block waits for what is still being kept."""
    with ExitStack() as exits:
        backend: CacheStore
        if isinstance(settings.place, Path):
            backend = LayoutStore(settings.place, blobs, platform)
        else:
            patient = exits.enter_context(client.for_cache(patient=True))
            hasty = exits.enter_context(client.for_cache(patient=False))
            blobs.reach(settings.place, patient)
            backend = RepositoryStore(patient, hasty, settings.place, platform)
        cache = LayerCache(
            backend,
            client.reporter,
            blobs.open_packed,
            now_s=now_s,
            ttl_s=settings.ttl_s,
            writes=settings.writes,
            clock=client.clock,
        )
        yield exits.enter_context(cache)
