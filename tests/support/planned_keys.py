"""The cache keys that a build asks for before any work, of builds without a registry."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from knarr.builder.build import Build
from knarr.builder.cache.backends import LayoutBackend
from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.settings import CacheSettings
from knarr.builder.cache.step_cache import CacheRules
from knarr.builder.request.contexts import ContextKey, LayoutContext, NamedContext
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.isolation import Sandbox
from knarr.builder.roots.stage_root import Directories
from knarr.builder.sources.git_program import GitProgram
from knarr.builder.sources.remote import RemoteSources
from knarr.dockerfile.language.parser import parse
from knarr.exec.probe import probe
from knarr.images.base_images import BaseImages
from knarr.images.blobs import Blobs, LayerRules
from knarr.images.form import ImageForm
from knarr.images.store import Store
from knarr.oci.platform import Platform
from knarr.progress import Silent
from knarr.registry.client import Client
from knarr.rootfs.unpack import OwnerPolicy
from support.image_layout import Member, PlatformImage, write_layout, write_tar

AMD64 = Platform.parse("linux/amd64")


@dataclass(frozen=True)
class PlannedBuild:
    """What the keys of a build come from."""

    dockerfile: str
    context: Path
    base: Path
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[tuple[str, str], ...] = ()
    platform: Platform = AMD64
    form: ImageForm = field(default_factory=ImageForm)
    epoch_s: int | None = None
    snapshots: SnapshotRules = field(default_factory=SnapshotRules)
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    created_s: int = 1_700_000_000

    def keys(self, work: Path) -> list[str]:
        """All keys that are asked for, in order; `work` is an empty directory."""
        (self.context / "Dockerfile").write_text(self.dockerfile)
        request = self._request(work)
        with ExitStack() as exits:
            client = exits.enter_context(Client())
            rules = LayerRules(self.form.compression, self.epoch_s)
            blobs = Blobs(Store.create(work / "store", durable=False), client, rules)
            exits.callback(blobs.close)
            cache = _Asked(blobs, work / "cache", self.platform)
            sandbox = Sandbox(probe("none"), Directories(None, OwnerPolicy.KEEP), None, None, None)
            remotes = RemoteSources(client, GitProgram(), work)
            bases, parsed = BaseImages(client, Silent()), parse(self.dockerfile.encode(), file="Dockerfile")
            build = Build(request, parsed, sandbox, blobs, bases, remotes, Silent())
            exits.callback(build.close)
            build.plan(build.stages(), cache)
            return cache.asked

    def _request(self, work: Path) -> BuildRequest:
        contexts = {"base": LayoutContext(self.base), **self.contexts}
        return BuildRequest(
            context=self.context,
            dockerfile=self.context / "Dockerfile",
            outputs=Outputs(form=self.form),
            work_dir=work,
            created_s=self.created_s,
            platform=self.platform,
            build_args=self.build_args,
            labels=self.labels,
            contexts={ContextKey(name): context for name, context in contexts.items()},
            cache=CacheSettings(work / "cache", 3600, CacheRules(copy_layers=True)),
            snapshots=self.snapshots,
        )


class _Asked(LayerCache):
    """A cache without entries, where no lookup is made."""

    def __init__(self, blobs: Blobs, directory: Path, platform: Platform) -> None:
        super().__init__(
            LayoutBackend(directory, blobs, platform),
            Silent(),
            now_s=0,
            ttl_s=1,
            writes=False,
            clock=standing_clock,
        )
        self.asked: list[str] = []

    def ask(self, keys: Iterable[str]) -> None:
        """Note the keys."""
        self.asked += keys


def standing_clock() -> float:
    """No time passes."""
    return 0.0


def write_base(
    directory: Path,
    members: Iterable[Member] = (),
    *,
    config: Mapping[str, object] | None = None,
    architectures: Iterable[str] = ("amd64",),
) -> Path:
    """A base image as an OCI layout, for some architectures with the same files."""
    directory.mkdir()
    tar = directory / "layer.tar"
    with tar.open("wb") as stream:
        write_tar(stream, members)
    images = [PlatformImage([tar], config or {}, architecture) for architecture in architectures]
    write_layout(directory / "layout", images)
    return directory / "layout"
