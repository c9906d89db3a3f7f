"""What a build is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knarr.builder.request.cache_settings import CacheSettings
from knarr.builder.request.contexts import ContextKey, ImageContext, NamedContext
from knarr.builder.request.credentials import BuildSecrets
from knarr.builder.request.exports import Export
from knarr.builder.request.git_program import GitProgram
from knarr.builder.request.output_files import OutputFile
from knarr.builder.request.run_settings import RunSettings
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.images.form import ImageForm
from knarr.images.image import Layer
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the image goes; paths are absolute."""

    destinations: tuple[Reference, ...] = ()
    """Each with a tag, or without one to be pushed to by digest. Pushed to in order, and only if `push`."""
    push: bool = True
    exports: tuple[Export, ...] = ()
    """Files and directories of this machine, written in order."""
    files: tuple[OutputFile, ...] = ()
    """What the build tells the pipeline around it, written after all else has succeeded."""
    form: ImageForm = field(default_factory=ImageForm)

    @property
    def pushed_to(self) -> tuple[Reference, ...]:
        """The destinations, or none with `--no-push`."""
        return self.destinations if self.push else ()

    @property
    def need_all_layers(self) -> bool:
        """Whether every layer's bytes must be here, those of the base image as well."""
        return bool(self.exports)

    @property
    def use_stdout(self) -> bool:
        """Whether one goes to the process's own standard output, which must have nothing else then."""
        return any(file.is_stdout for file in self.files) or any(each.is_stdout for each in self.exports)

    def read(self, layer: Layer) -> bool:
        """Whether a layer's bytes are needed here, and no registry has it beside where it goes."""
        if self.need_all_layers or layer.origin is None:
            return self.need_all_layers
        return any(each.registry != layer.origin.registry for each in self.pushed_to)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A build, with all that comes from flags, environment and clock."""

    context: Path
    dockerfile: Path
    """Absolute path of the Dockerfile, which need not lie in the context."""
    outputs: Outputs
    work_dir: Path
    """An empty directory of this build alone, removed by the caller."""
    created_s: int
    """The time of the build, seconds since 1970: of config, history, files without a time of their own.

    SOURCE_DATE_EPOCH comes before it.
    """
    platform: Platform
    """What the image is for."""
    build_args: Mapping[str, str]
    labels: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] = ()
    """Stages to build; the first, or the file's last where there is none, is the image."""
    isolation: str = "auto"
    force: bool = False
    """Whether to build in place in a container that is no image of ours."""
    contexts: Mapping[ContextKey, NamedContext] = field(default_factory=dict)
    credentials: BuildSecrets = field(default_factory=BuildSecrets)
    """What RUN steps may be given."""
    mount_cache_dir: Path | None = None
    """Where cache mounts are kept for later builds; None keeps them for this build alone."""
    git: GitProgram = field(default_factory=GitProgram)
    """Fetches the repositories that ADD names."""
    build_platform: Platform | None = None
    """The machine's own platform, where the image is for another."""
    reproducible: bool = False
    """Whether times are 1970's where SOURCE_DATE_EPOCH does not say otherwise."""
    single_snapshot: bool = False
    """Whether all that the build adds to its base is one layer."""
    snapshots: SnapshotRules = field(default_factory=SnapshotRules)
    cache: CacheSettings | None = None
    """None builds every step."""
    run: RunSettings = field(default_factory=RunSettings)
    fresh_stages: frozenset[str] = frozenset()
    """Names, in lower case, of stages whose steps are not looked up in the cache."""
    kept: tuple[Path, ...] = ()
    """Files and directories that a build in place must leave alone for a reason not said here."""
    more_places: tuple[Path, ...] = ()
    """What else the flags name for this program to read or write, now or in another build."""

    def own_paths(self) -> tuple[Path, ...]:
        """What lies on the machine for this build, or will: nothing of it is the image's."""
        directories = [
            context.path for context in self.contexts.values() if not isinstance(context, ImageContext)
        ]
        optional = (self.mount_cache_dir, *directories, *self.credentials.agents.values())
        caches = self.cache.paths if self.cache is not None else ()
        return (self.context, *(path for path in optional if path is not None), *caches, *self.kept)

    def own_places(self) -> tuple[Path, ...]:
        """Where this program reads and writes for itself: nothing there is part of a build context.

        What the user has made is not among them, though a build reads it: contexts, Dockerfile, secrets.
        """
        caches = self.cache.paths if self.cache is not None else ()
        mounts = (self.mount_cache_dir,) if self.mount_cache_dir is not None else ()
        return (self.work_dir, *caches, *mounts, *self.output_paths(), *self.more_places)

    def output_paths(self) -> tuple[Path, ...]:
        """Where the build writes at its end: what is there before is not the image's."""
        files = (file.path for file in self.outputs.files)
        exports = (export.path for export in self.outputs.exports)
        return tuple(path for path in (*exports, *files) if path is not None)
