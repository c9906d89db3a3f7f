"""What a build refuses for the text of its Dockerfile, found without a look at any image."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from knarr.builder.plan.instructions import apply_instruction
from knarr.builder.plan.located import located
from knarr.builder.plan.resolve import stage_platform
from knarr.builder.plan.source import EPOCH_ARGUMENT, parse_epoch
from knarr.builder.plan.state import StageState, Surroundings
from knarr.dockerfile.language.instructions import Instruction, Workdir
from knarr.dockerfile.language.scope import Scope
from knarr.dockerfile.stages.stages import (
    ImageReference,
    PlannedStage,
    ScratchReference,
    StageReference,
    references_of,
)
from knarr.errors import DockerfileError
from knarr.oci.image_config import ImageConfig
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference

_SOMEWHERE = "/-" * 64
"""The working directory of an image that nobody looked at: ".." leads out of it nowhere."""
_NAME = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


def check_text(planned: Iterable[PlannedStage], around: Surroundings, platform: Platform) -> None:
    """Plan the stages of a build as far as their text goes; the stages come in the order of the file.

    Raises KnarrError for what the build would refuse. What depends on a variable that a base image may have
    is not judged.
    """
    epoch = around.build_args.get(EPOCH_ARGUMENT, around.global_args.get(EPOCH_ARGUMENT))
    if epoch:
        parse_epoch(epoch)
    stages: dict[int, _Stage] = {}
    for each in planned:
        stage = _start(each, stages, around, platform)
        stages[each.stage.index] = stage
        for instruction in each.instructions:
            stage.apply(instruction)


@dataclass(slots=True)
class _Stage:
    state: StageState
    knows_base: bool
    """Whether all that its base defines is in this file."""

    def apply(self, instruction: Instruction) -> None:
        around = self.state.around
        is_open = not self.knows_base and _names_unknown(instruction, self.state.scope)
        try:
            with located(instruction):
                named = references_of(around.dockerfile, self.state.index, [instruction], around.contexts)
                for reference in named:
                    if isinstance(reference, ImageReference):
                        Reference.parse(reference.name)
                apply_instruction(self.state, instruction)
        except DockerfileError:
            if not is_open:
                raise
        if is_open and isinstance(instruction, Workdir):
            self.state.configure(WorkingDir=_SOMEWHERE)


def _start(
    planned: PlannedStage, stages: dict[int, _Stage], around: Surroundings, platform: Platform
) -> _Stage:
    base, index = planned.base, planned.stage.index
    if isinstance(base, StageReference):
        below = stages[base.index]
        config = below.state.config.with_run(OnBuild=None)
        return _Stage(StageState(index, config, below.state.scope.inherited(), around), below.knows_base)
    with located(planned.stage.from_):
        stage_platform(planned)
        if isinstance(base, ImageReference):
            Reference.parse(base.name)
    knows_base = isinstance(base, ScratchReference)
    config = ImageConfig.scratch(platform).with_run(WorkingDir=None if knows_base else _SOMEWHERE)
    return _Stage(StageState(index, config, Scope.from_image(()), around), knows_base)


def _names_unknown(instruction: Instruction, scope: Scope) -> bool:
    """Whether it names a variable that neither has a value here nor is an ARG of this file."""
    known = {*scope.variables, *(name for name, _ in scope.args)}
    return not known.issuperset(_NAME.findall(instruction.original))
