"""One stage while it is built: its image so far, its root file system, the names in scope."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.builder.request.credentials import Credentials
from knarr.builder.roots.backend import Backend
from knarr.builder.roots.stage_root import StageRoot
from knarr.builder.sources.remote import RemoteSources
from knarr.dockerfile.language.history import HISTORY_COMMENT
from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.dockerfile.language.scope import Scope
from knarr.dockerfile.language.substitute import substitute
from knarr.errors import DockerfileError, KnarrError, SourceLocation
from knarr.images.image import Image, Layer
from knarr.oci.image_config import History
from knarr.progress import Note, Reporter
from knarr.rootfs.tree import Tree

_AnyInstruction = TypeVar("_AnyInstruction", bound=Instruction)


class Sources(Protocol):
    """What COPY, ADD can copy from, RUN can mount."""

    def context(self) -> Tree:
        """The build context, without what its ignore file excludes."""
        ...

    def is_ignored(self, path: str) -> bool:
        """Whether the ignore file is why a path is not in the context."""
        ...

    def named(self, name: str, before: int) -> Tree:
        """The stage or image that `--from=name` means in the stage of this index."""
        ...

    def locate(self, name: str | None, before: int, path: str) -> tuple[Path, str]:
        """A directory on disk with a path in it: what a mount's `from` with its `source` means."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What all stages share."""

    created_s: int
    """The time of the build, seconds since 1970."""
    escape: str
    build_args: Mapping[str, str]
    global_args: Mapping[str, str]
    backend: Backend
    work_dir: Path
    sources: Sources
    caches: CacheMounts
    credentials: Credentials
    remotes: RemoteSources
    reporter: Reporter

    @property
    def created(self) -> str:
        """The time of the build as config and history have it (RFC 3339)."""
        return datetime.fromtimestamp(self.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def created_ns(self) -> int:
        """The time of files without a time of their own, nanoseconds since 1970."""
        return self.created_s * 10**9


@dataclass(slots=True)
class StageState:
    """A stage as its config goes on from instruction to instruction, without its files."""

    index: int
    name: str
    image: Image
    scope: Scope
    settings: Settings
    has_cmd: bool = field(default=False, kw_only=True)
    """Whether CMD was given in this stage, so that ENTRYPOINT leaves it alone."""

    def substitute(self, instruction: _AnyInstruction) -> _AnyInstruction:
        """The instruction with its variables replaced; DockerfileError where that is impossible."""
        return substitute(instruction, self.scope.expansion_env(), escape=self.settings.escape)

    def configure(self, **properties: object) -> None:
        """Set properties of the config that a container starts with."""
        self.image = self.image.with_config(self.image.config.with_run(**properties))

    def record(self, created_by: str) -> None:
        """Add a history entry for an instruction without a layer."""
        entry = dataclasses.replace(self._history(created_by), empty_layer=True)
        self.image = self.image.with_config(self.image.config.with_history(entry))

    def warn(self, text: str) -> None:
        """Tell the user of something that is probably not meant."""
        self.settings.reporter.report(Note(f"{self.name}: {text}", "warning"))

    def _history(self, created_by: str) -> History:
        return History(created=self.settings.created, created_by=created_by, comment=HISTORY_COMMENT)


@dataclass(slots=True)
class StageBuild(StageState):
    """A stage in the making; its steps change it in place."""

    opened: StageRoot | None = field(default=None, kw_only=True)
    """Its files; None before a step must be carried out."""
    on_layer: Callable[[Layer], None] = field(default=lambda _: None, kw_only=True)

    @property
    def root(self) -> StageRoot:
        """Its files; opened already wherever something asks."""
        assert self.opened is not None
        return self.opened

    def add_layer(self, layer: Layer, created_by: str) -> None:
        """Add a layer with its history entry."""
        self.image = self.image.with_layer(layer, self._history(created_by))
        self.on_layer(layer)


def located(error: KnarrError, instruction: Instruction) -> KnarrError:
    """The error with the instruction that it came up in, where it doesn't say one yet."""
    if isinstance(error, DockerfileError):
        location = error.location or instruction.location
        location = dataclasses.replace(location, text=without_credentials(location.text))
        return DockerfileError(error.message, location=location, hint=error.hint)
    error.message = f"{_place(instruction.location)}: {error.message}"
    error.line = instruction.location.line
    return error


def _place(location: SourceLocation) -> str:
    return f"{location.file}:{location.line}: {without_credentials(location.text).strip()[:120]}"
