"""A stage while it is planned: its config so far, the names in scope."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from knarr.builder.plan.plan import timestamp
from knarr.builder.plan.steps import FilesInput, Origin
from knarr.builder.request.run_settings import RunSettings
from knarr.dockerfile.language.history import HISTORY_COMMENT
from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.language.scope import Scope
from knarr.dockerfile.language.substitute import substitute
from knarr.dockerfile.stages.stages import FromReference, resolve_from
from knarr.images.image import Image
from knarr.oci.image_config import History, ImageConfig
from knarr.rootfs.copying.copy import CopyRequest

_AnyInstruction = TypeVar("_AnyInstruction", bound=Instruction)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all stages of a build have in common while they are planned."""

    dockerfile: Dockerfile
    build_args: Mapping[str, str]
    global_args: Mapping[str, str]
    contexts: frozenset[str]
    """Names of the named contexts."""
    images: Mapping[FromReference, Image]
    """What COPY and mounts name, where that is an image."""
    created_s: int
    run: RunSettings = field(default_factory=RunSettings)

    @property
    def escape(self) -> str:
        """The escape character of the Dockerfile."""
        return self.dockerfile.directives.escape

    @property
    def created_ns(self) -> int:
        """`created_s` in nanoseconds."""
        return self.created_s * 10**9


@dataclass(slots=True)
class StageState:
    """A stage as its config goes on from instruction to instruction."""

    index: int
    config: ImageConfig
    scope: Scope
    around: Surroundings
    has_cmd: bool = field(default=False, kw_only=True)
    """Whether CMD was given in this stage, so that ENTRYPOINT leaves it alone."""

    def substitute(self, instruction: _AnyInstruction) -> _AnyInstruction:
        """The instruction with its variables replaced; DockerfileError where that is impossible."""
        return substitute(instruction, self.scope.expansion_env(), escape=self.around.escape)

    def origin(self, name: str, *, numbered: bool) -> Origin:
        """What `COPY --from=name` (`numbered`) or a mount's `from=name` means. Raises DockerfileError."""
        return resolve_from(
            self.around.dockerfile,
            name,
            before=self.index,
            contexts=self.around.contexts,
            numbered=numbered,
        )

    def files(self, origin: Origin, request: CopyRequest) -> FilesInput:
        """Files as an input of a step."""
        return FilesInput(origin, request, self.around.images.get(origin) if origin is not None else None)

    def configure(self, **properties: object) -> None:
        """Set properties of the config that a container starts with."""
        self.config = self.config.with_run(**properties)

    def record(self, created_by: str, *, makes_layer: bool = False) -> None:
        """Add the history entry of an instruction."""
        created = timestamp(self.around.created_s)
        entry = History(created=created, created_by=created_by, comment=HISTORY_COMMENT)
        self.config = self.config.with_history(dataclasses.replace(entry, empty_layer=not makes_layer))
