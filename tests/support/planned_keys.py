"""The cache keys that a build asks for before any work, of builds without a registry."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from knarr.builder.cache.decisions import ask
from knarr.builder.cache.input_keys import InputKeys
from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.step_cache import StepCache
from knarr.builder.cache.stores import LayoutStore
from knarr.builder.plan.resolve import resolve
from knarr.builder.plan.source import DockerfileSource
from knarr.builder.request.cache_settings import CacheRules, CacheSettings
from knarr.builder.request.contexts import ContextKey, LayoutContext, NamedContext
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.none import NoBackend
from knarr.builder.run.tools import base_parts, open_tools
from knarr.builder.sources.context import read_ignore_patterns
from knarr.dockerfile.language.parser import parse
from knarr.images.blobs import Blobs
from knarr.images.form import ImageForm
from knarr.oci.platform import Platform
from knarr.progress import Silent
from knarr.registry.client import Client
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
            source = DockerfileSource(
                parse(self.dockerfile.encode(), file="Dockerfile"),
                read_ignore_patterns(request.dockerfile, request.context),
                self.epoch_s,
            )
            reporter, backend = Silent(), NoBackend()
            tools = exits.enter_context(open_tools(request, source, backend, client, reporter))
            cache = _Asked(tools.blobs, work / "cache", self.platform)
            assert request.cache is not None
            keys = InputKeys(cache, tools.directories, created_s=0)
            steps = StepCache(
                cache, request.cache.rules, keys, base_parts=base_parts(request, tools.blobs), created_s=0
            )
            ask(resolve(request, source, tools.lookup, reporter), steps)
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
            LayoutStore(directory, blobs, platform),
            Silent(),
            blobs.open_packed,
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
