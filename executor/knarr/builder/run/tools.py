"""What the steps of a build are carried out with."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from knarr.builder.cache.cached_layers import CachedLayers
from knarr.builder.cache.input_keys import InputKeys
from knarr.builder.cache.layer_cache import open_cache
from knarr.builder.cache.step_cache import StepCache
from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.builder.mounts.run_mounts import MountProviders
from knarr.builder.plan.source import DockerfileSource
from knarr.builder.request.git_program import GitProgram
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.backend import Backend
from knarr.builder.sources.image_lookup import NamedImages
from knarr.builder.sources.local_source import LocalSource
from knarr.builder.sources.remote import RemoteSources
from knarr.builder.sources.remote_auth import RemoteAuth
from knarr.builder.sources.sources import Directories
from knarr.images.base_images import BaseImages
from knarr.images.blobs import Blobs, LayerRules
from knarr.images.image import Layer
from knarr.images.local_base_cache import LocalBaseCache
from knarr.images.pusher import Pusher
from knarr.images.store import Store
from knarr.progress import Reporter
from knarr.registry.client import Client


@dataclass(frozen=True, slots=True)
class Cache:
    """The layer cache of a build: its verdicts, the layers that came from it."""

    steps: StepCache
    layers: CachedLayers


@dataclass(frozen=True, slots=True)
class Tools:
    """The services of one build, opened and closed by `open_tools`."""

    backend: Backend
    blobs: Blobs
    lookup: NamedImages
    directories: Directories
    remotes: RemoteSources
    mounts: MountProviders
    cache: Cache | None
    pusher: Pusher
    client: Client
    reporter: Reporter
    outputs: Outputs
    snapshots: SnapshotRules
    work_dir: Path

    def publish(self, layer: Layer) -> None:
        """Begin to send a layer of the image to where it goes, unless it is to be packed anew before.

        Raises UsageError where the image's form has no name for its type.
        """
        self.outputs.form.layer_type(layer.descriptor.media_type)
        if self.outputs.form.is_packed(layer.descriptor.media_type):
            self.pusher.submit(layer, partial(self.blobs.open_packed, layer))


@contextmanager
def open_tools(
    request: BuildRequest, source: DockerfileSource, backend: Backend, client: Client, reporter: Reporter
) -> Iterator[Tools]:
    """The tools of a build in the isolation that was entered.

    Leaving the block gives up what still waits to be uploaded, and waits for what is put into the cache.
    """
    work_dir = request.work_dir
    rules = LayerRules(request.outputs.form.compression, source.epoch_s)
    local_bases = _local_bases(request, client)
    with ExitStack() as exits:
        store = Store.create(work_dir / "store", durable=False)
        blobs = Blobs(store, client, rules, local_bases=local_bases)
        exits.callback(blobs.close)
        bases = BaseImages(client, reporter, local_bases)
        own = request.own_places()
        lookup = NamedImages(request.contexts, request.platform, bases, blobs, work_dir / "contexts", own=own)
        copies = work_dir / "context"
        context = LocalSource(request.context, source.ignore, copies, own=own, keeps_owners=True)
        directories = Directories(context, lookup, work_dir / "scratch")
        exits.callback(directories.close)
        git = request.git if backend.trusts(request.git.path) else GitProgram()
        yield Tools(
            backend=backend,
            blobs=blobs,
            lookup=lookup,
            directories=directories,
            remotes=RemoteSources(client, git, work_dir, auth=RemoteAuth(request.credentials.secrets)),
            mounts=_mount_providers(request, backend, reporter),
            pusher=exits.enter_context(Pusher(client, request.outputs.pushed_to)),
            cache=_open_cache(request, client, blobs, directories, exits),
            client=client,
            reporter=reporter,
            outputs=request.outputs,
            snapshots=request.snapshots,
            work_dir=work_dir,
        )


def _mount_providers(request: BuildRequest, backend: Backend, reporter: Reporter) -> MountProviders:
    caches = CacheMounts(
        request.mount_cache_dir or request.work_dir / "cache-mounts",
        request.build_args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
        reporter,
        can_share=backend.abilities.can_mount,
    )
    return MountProviders(caches, request.credentials, request.work_dir, backend.abilities)


def _local_bases(request: BuildRequest, client: Client) -> LocalBaseCache | None:
    """The base images that a warmer has put on this machine."""
    cache = request.cache
    if cache is None or cache.base_directory is None:
        return None
    return LocalBaseCache(
        cache.base_directory,
        client.reporter,
        ttl_s=cache.ttl_s,
        now_s=request.created_s,
        sleep=client.sleep,
    )


def _open_cache(
    request: BuildRequest, client: Client, blobs: Blobs, directories: Directories, exits: ExitStack
) -> Cache | None:
    if request.cache is None:
        return None
    cache = exits.enter_context(
        open_cache(request.cache, client, blobs, request.platform, now_s=request.created_s)
    )
    keys = InputKeys(cache, directories, created_s=request.created_s)
    parts = base_parts(request, blobs)
    steps = StepCache(cache, request.cache.rules, keys, base_parts=parts, created_s=request.created_s)
    return Cache(steps, CachedLayers(blobs, cache))


def base_parts(request: BuildRequest, blobs: Blobs) -> tuple[str, ...]:
    """What makes all layers of a build other than those of one without flags, for the keys of the cache."""
    return (*blobs.rules.key_parts, *(f"ignored {path}" for path in request.snapshots.ignored))
