"""What is asked of the cache, and the cache that does it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from knarr.build.blobs import Blobs
from knarr.build.cache.backends import Backend, LayoutBackend, RepositoryBackend
from knarr.build.cache.layer_cache import LayerCache
from knarr.build.cache.step_cache import CacheRules
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


def open_cache(
    settings: CacheSettings,
    client: Client,
    lookups: Client,
    blobs: Blobs,
    platform: Platform,
    *,
    now_s: int,
    clock: Callable[[], float],
) -> LayerCache:
    """The cache of a build; the caller closes it. `lookups` is a client that does not wait for long."""
    backend: Backend
    if isinstance(settings.place, Path):
        backend = LayoutBackend(settings.place, blobs, platform)
    else:
        backend = RepositoryBackend(client, lookups, settings.place, platform)
    return LayerCache(
        backend, client.reporter, now_s=now_s, ttl_s=settings.ttl_s, writes=settings.writes, clock=clock
    )
