"""What a build has to do: the target, the stages it needs, the images they start from."""

from collections.abc import Iterable, Mapping, Sequence

from knarr.builder.plan.stage import Settings, StageState, located
from knarr.builder.request.request import BuildRequest
from knarr.builder.sources.named_contexts import NamedContexts
from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.parser import Dockerfile, parse_onbuild
from knarr.dockerfile.language.scope import Scope, global_scope
from knarr.dockerfile.stages.stages import (
    ContextReference,
    ImageReference,
    PlannedStage,
    StageReference,
    plan_stages,
    references_of,
    resolve_target,
)
from knarr.errors import DockerfileError, KnarrError, UsageError
from knarr.images.base_images import BaseImages
from knarr.images.image import Image
from knarr.oci.image_config import ImageConfig
from knarr.oci.platform import Platform


class BuildPlan:
    """The stages that a request needs, each looked up and resolved once."""

    def __init__(
        self,
        request: BuildRequest,
        dockerfile: Dockerfile,
        bases: BaseImages,
        contexts: NamedContexts,
    ) -> None:
        self._request = request
        self._dockerfile = dockerfile
        self._bases = bases
        self._contexts = contexts
        self.targets = tuple(resolve_target(dockerfile, name) for name in request.targets or (None,))
        self.target = self.targets[0]
        self.global_args: Mapping[str, str] = global_scope(
            dockerfile.global_args,
            build_args=request.build_args,
            build_platform=str(request.build_platform or request.platform),
            target_platform=str(request.platform),
            target_stage=self.target.name,
            escape=dockerfile.directives.escape,
        )

    def stages(self) -> tuple[PlannedStage, ...]:
        """The stages to build, in the file's order; planned anew while base images bring triggers."""
        triggers: dict[int, tuple[Instruction, ...]] = {}
        while True:
            plan = self._planned(triggers)
            found = {each.stage.index: self._triggers(each) for each in plan}
            found = {index: parsed for index, parsed in found.items() if parsed}
            if found == triggers:
                return plan
            triggers = found

    def _planned(self, triggers: Mapping[int, tuple[Instruction, ...]]) -> tuple[PlannedStage, ...]:
        """What all targets need together, in the file's order."""
        needed: dict[int, PlannedStage] = {}
        for target in self.targets:
            plan = plan_stages(
                self._dockerfile,
                target,
                self.global_args,
                contexts=self._contexts.names,
                image_triggers=triggers,
            )
            needed |= {each.stage.index: each for each in plan}
        return tuple(needed[index] for index in sorted(needed))

    def base_image(self, planned: PlannedStage) -> Image | None:
        """The image that a stage starts from; None for scratch, and for a stage on another."""
        base = planned.base
        if not isinstance(base, ImageReference | ContextReference):
            return None
        try:
            platform = self._platform(planned)
            if isinstance(base, ContextReference):
                return self._contexts.image(base.name, platform)
            return self._bases.get(base.name, platform)
        except KnarrError as error:
            raise located(error, planned.stage.from_) from error

    def base_layer_count(self, stages: Sequence[PlannedStage]) -> int:
        """How many layers of the target come from the image at the bottom of its stages."""
        planned = {each.stage.index: each for each in stages}
        lowest = planned[self.target.index]
        while (parent := parent_index(lowest)) is not None:
            lowest = planned[parent]
        image = self.base_image(lowest)
        return len(image.layers) if image is not None else 0

    def first_state(self, planned: PlannedStage, parent: StageState | None, settings: Settings) -> StageState:
        """A stage before its first instruction; `parent` is the stage it starts from, at its end."""
        if parent is not None:
            image, scope = parent.image, parent.scope.inherited()
        else:
            image = self.base_image(planned) or Image(ImageConfig.scratch(self._request.platform))
            scope = Scope.from_image(f"{name}={value}" for name, value in image.config.env.items())
        config = image.config.with_env(scope.image_env).with_run(OnBuild=None)
        name = planned.stage.name or f"stage-{planned.stage.index}"
        return StageState(planned.stage.index, name, image.with_config(config), scope, settings)

    def source_stages(self, planned: PlannedStage, instructions: Iterable[Instruction]) -> list[int]:
        """The stages that some instructions of a stage copy from or mount."""
        names = self._contexts.names
        found = references_of(self._dockerfile, planned.stage.index, instructions, names)
        return [each.index for each in found if isinstance(each, StageReference)]

    def _triggers(self, planned: PlannedStage) -> tuple[Instruction, ...]:
        image = self.base_image(planned)
        return tuple(
            parse_onbuild(text, file=self._dockerfile.file, location=planned.stage.from_.location)
            for text in (image.config.onbuild if image is not None else ())
        )

    def _platform(self, planned: PlannedStage) -> Platform:
        if not planned.platform:
            return self._request.platform
        try:
            return Platform.parse(planned.platform)
        except UsageError as error:
            location = planned.stage.from_.location
            raise DockerfileError(error.message, location=location, hint=error.hint) from error


def parent_index(planned: PlannedStage) -> int | None:
    """The stage that this one starts from, if it is one of the file."""
    return planned.base.index if isinstance(planned.base, StageReference) else None
