"""The steps of a stage as values: what each does to the image config, what its layer is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from knarr.builder.request.run_settings import RunSettings
from knarr.dockerfile.language.add_sources import AddSource
from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.mount import Mount
from knarr.dockerfile.language.remote_sources import GitSource, HttpSource, without_credentials
from knarr.dockerfile.language.run_script import RunScript
from knarr.dockerfile.stages.stages import FromReference, StageReference
from knarr.exec.spec import Network
from knarr.images.image import Image
from knarr.oci.image_config import ImageConfig
from knarr.rootfs.copying.copy import CopyRequest

Origin = FromReference | None
"""Where files come from; None is the build context."""

Part = str | bytes
"""Something that a layer depends on and that the plan knows: a word, a flag, a variable."""


@dataclass(frozen=True, slots=True)
class FilesInput:
    """Files that a step takes from somewhere: a key of their content stands for them."""

    origin: Origin
    request: CopyRequest
    image: Image | None = None
    """The image that the origin names, if it is one: its layers say what its files are."""


@dataclass(frozen=True, slots=True)
class RemoteInput:
    """A download or a repository of ADD: a digest or a commit stands for it.

    `number` counts the remote sources of the ADD from 0.
    """

    source: HttpSource | GitSource
    number: int


Input = Part | FilesInput | RemoteInput
Inputs = tuple[Part, ...]
"""What a layer depends on besides what lies below it, all of it known."""


@dataclass(frozen=True, slots=True)
class CopyStep:
    """COPY: `request` lacks the owner alone, whom the root's /etc/passwd may have to name."""

    is_run: ClassVar[bool] = False
    inputs: tuple[Input, ...]
    origin: Origin
    request: CopyRequest
    chown: str | None
    is_fresh: bool = False

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where its files come from."""
        return (self.origin,)


@dataclass(frozen=True, slots=True)
class AddStep:
    """ADD: `sources` are paths of the build context and what must be fetched, in their order."""

    is_run: ClassVar[bool] = False
    inputs: tuple[Input, ...]
    sources: tuple[AddSource, ...]
    request: CopyRequest
    chown: str | None
    unpacks_downloads: bool
    is_fresh: bool = False

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The build context."""
        return (None,)

    @property
    def has_remotes(self) -> bool:
        """Whether anything must be fetched for its layer."""
        return any(not isinstance(source, str) for source in self.sources)


@dataclass(frozen=True, slots=True)
class WorkdirStep:
    """WORKDIR: `user` owns the directories that are made; empty for root."""

    is_run: ClassVar[bool] = True
    inputs: tuple[Input, ...]
    path: str
    user: str
    created_ns: int
    """The time of what is made, nanoseconds since 1970."""
    is_fresh: bool = False

    @property
    def origins(self) -> tuple[Origin, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class RunStep:
    """RUN: `environment` lacks HOME alone, which the root's /etc/passwd may say."""

    is_run: ClassVar[bool] = True
    inputs: tuple[Input, ...]
    script: RunScript
    environment: Mapping[str, str]
    user: str
    working_dir: str
    network: Network
    mounts: tuple[Mount, ...]
    mount_origins: Mapping[Mount, Origin]
    """Of the mounts that show files of somewhere else."""
    has_agent_variable: bool
    """Whether ARG or ENV sets SSH_AUTH_SOCK."""
    settings: RunSettings = field(default_factory=RunSettings)
    is_fresh: bool = False

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where its mounts come from, each once."""
        return tuple(dict.fromkeys(self.mount_origins.values()))


LayerStep = CopyStep | AddStep | WorkdirStep | RunStep
"""A step that makes a layer; one that `is_fresh` is not looked up in the cache (`--no-cache-filter`).

`is_run` says which flag its cache listens to: `--cache-run-layers` (RUN, WORKDIR) or `--cache-copy-layers`.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a stage; `number` counts from 1, the triggers of its base included.

    `config` is what the image config is after the step, its history complete, its diff_ids still the base's.
    """

    stage: int
    number: int
    instruction: Instruction
    config: ImageConfig
    layer: LayerStep | None
    """None for a step that changes nothing but the config."""

    @property
    def id(self) -> str:
        """What events and decisions call the step: `STAGE/NUMBER`."""
        return f"{self.stage}/{self.number}"

    @property
    def text(self) -> str:
        """The instruction as the user wrote it, without credentials."""
        return without_credentials(self.instruction.original)

    @property
    def source_stages(self) -> Iterator[int]:
        """The stages that it copies from or mounts."""
        for origin in self.layer.origins if self.layer is not None else ():
            if isinstance(origin, StageReference):
                yield origin.index
