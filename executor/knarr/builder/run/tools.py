"""What the steps of a build are carried out with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from knarr.builder.cache.cached_layers import CachedLayers
from knarr.builder.cache.step_cache import StepCache
from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.builder.request.credentials import Credentials
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.backend import Backend
from knarr.builder.sources.remote import RemoteSources
from knarr.builder.sources.sources import Directories
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.progress import Reporter


@dataclass(frozen=True, slots=True)
class Cache:
    """The layer cache of a build: its verdicts, the layers that came from it."""

    steps: StepCache
    layers: CachedLayers


@dataclass(frozen=True, slots=True)
class Tools:
    """The services of one build, opened and closed by who started it."""

    backend: Backend
    blobs: Blobs
    directories: Directories
    remotes: RemoteSources
    cache_mounts: CacheMounts
    credentials: Credentials
    cache: Cache | None
    snapshots: SnapshotRules
    work_dir: Path
    reporter: Reporter
    is_read: Callable[[Layer], bool]
    """Whether an output reads a layer of the image."""
    publish: Callable[[Layer], None]
    """Begins to send a layer of the image to where it goes."""
