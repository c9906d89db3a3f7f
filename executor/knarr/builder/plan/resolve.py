"""From a request and its Dockerfile to the plan of the build."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from knarr.builder.plan.checks import BuildChecks
from knarr.builder.plan.instructions import apply_instruction
from knarr.builder.plan.located import located
from knarr.builder.plan.plan import Plan, StagePlan
from knarr.builder.plan.source import DockerfileSource, global_args
from knarr.builder.plan.state import StageState, Surroundings
from knarr.builder.plan.steps import Step
from knarr.builder.request.request import BuildRequest
from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.parser import Dockerfile, Stage, parse_onbuild
from knarr.dockerfile.language.scope import Scope
from knarr.dockerfile.stages.stages import (
    ContextReference,
    FromReference,
    ImageReference,
    PlannedStage,
    StageReference,
    plan_stages,
    references_of,
    resolve_target,
)
from knarr.errors import DockerfileError, UsageError
from knarr.images.image import Image
from knarr.oci.image_config import ImageConfig
from knarr.oci.platform import Platform
from knarr.progress import Reporter


class ImageLookup(Protocol):
    """Where images come from that a Dockerfile names; each is looked up once a build."""

    @property
    def context_names(self) -> frozenset[str]:
        """The names of the named contexts (`--build-context`) for the platform of the build."""
        ...

    def registry_image(self, name: str, platform: Platform) -> Image:
        """The image of a registry. Raises UsageError, RegistryError, CorruptError."""
        ...

    def context_image(self, name: str, platform: Platform) -> Image:
        """The image that a named context is; a directory becomes one of a single layer.

        Raises ContextError, RegistryError, CorruptError.
        """
        ...

    def is_directory(self, name: str) -> bool:
        """Whether a named context is a directory of this machine."""
        ...


def resolve(request: BuildRequest, source: DockerfileSource, images: ImageLookup, reporter: Reporter) -> Plan:
    """What a build will do, found out without pulling a layer; build checks are reported on the way.

    Raises KnarrError for what is wrong with the Dockerfile, and for an image that can't be had.
    """
    dockerfile = source.dockerfile
    targets = tuple(resolve_target(dockerfile, name) for name in request.targets or (None,))
    names = global_args(request, dockerfile, targets[0].name)
    checks = BuildChecks(dockerfile, names, request.build_args, request.platform, source.ignore, reporter)
    checks.check_file()
    bases = _Bases(request.platform, images)
    needed = _needed_stages(dockerfile, targets, names, bases)
    starts = {each.stage.index: bases.of(each) for each in needed}
    checks.check_stages(needed, {index: image for index, image in starts.items() if image is not None})
    created_s = request.created_s if source.epoch_s is None else source.epoch_s
    source_images = _source_images(dockerfile, needed, request.platform, images)
    around = Surroundings(
        dockerfile, request.build_args, names, images.context_names, source_images, created_s, request.run
    )
    return Plan(
        _plan_stages(needed, starts, around, request),
        tuple(target.index for target in targets),
        source_images,
        request.labels,
        created_s,
        request.single_snapshot,
    )


class _Bases:
    """The images that stages start from."""

    def __init__(self, platform: Platform, images: ImageLookup) -> None:
        self._platform = platform
        self.images = images

    def of(self, planned: PlannedStage) -> Image | None:
        """None for scratch, and for a stage on another one."""
        base = planned.base
        if not isinstance(base, ImageReference | ContextReference):
            return None
        with located(planned.stage.from_):
            platform = _platform(planned) or self._platform
            if isinstance(base, ContextReference):
                return self.images.context_image(base.name, platform)
            return self.images.registry_image(base.name, platform)


def _platform(planned: PlannedStage) -> Platform | None:
    """What `FROM --platform` says. Raises DockerfileError."""
    if not planned.platform:
        return None
    try:
        return Platform.parse(planned.platform)
    except UsageError as error:
        raise DockerfileError(error.message, hint=error.hint) from error


def _needed_stages(
    dockerfile: Dockerfile, targets: Sequence[Stage], global_args: Mapping[str, str], bases: _Bases
) -> tuple[PlannedStage, ...]:
    """What all targets need, in the order of the file; planned anew while base images bring triggers."""
    triggers: dict[int, tuple[Instruction, ...]] = {}
    while True:
        needed: dict[int, PlannedStage] = {}
        for target in targets:
            stages = plan_stages(
                dockerfile,
                target,
                global_args,
                contexts=bases.images.context_names,
                image_triggers=triggers,
            )
            needed |= {each.stage.index: each for each in stages}
        found = {index: _triggers(dockerfile, each, bases.of(each)) for index, each in needed.items()}
        found = {index: parsed for index, parsed in found.items() if parsed}
        if found == triggers:
            return tuple(needed[index] for index in sorted(needed))
        triggers = found


def _triggers(dockerfile: Dockerfile, planned: PlannedStage, image: Image | None) -> tuple[Instruction, ...]:
    return tuple(
        parse_onbuild(text, file=dockerfile.file, location=planned.stage.from_.location)
        for text in (image.config.onbuild if image is not None else ())
    )


def _source_images(
    dockerfile: Dockerfile, needed: Iterable[PlannedStage], platform: Platform, images: ImageLookup
) -> dict[FromReference, Image]:
    """The images that COPY --from and mounts name. An error says which instruction names the image."""
    found: dict[FromReference, Image] = {}
    contexts = images.context_names
    for planned in needed:
        for instruction in planned.instructions:
            named = references_of(dockerfile, planned.stage.index, [instruction], contexts)
            with located(instruction):
                for reference in named:
                    if isinstance(reference, ImageReference):
                        found[reference] = images.registry_image(reference.name, platform)
                    elif isinstance(reference, ContextReference) and not images.is_directory(reference.name):
                        found[reference] = images.context_image(reference.name, platform)
    return found


def _plan_stages(
    needed: Iterable[PlannedStage],
    starts: Mapping[int, Image | None],
    around: Surroundings,
    request: BuildRequest,
) -> dict[int, StagePlan]:
    plans: dict[int, StagePlan] = {}
    scopes: dict[int, Scope] = {}
    for planned in needed:
        index = planned.stage.index
        parent = planned.base.index if isinstance(planned.base, StageReference) else None
        if parent is not None:
            base, config, scope = plans[parent].base, plans[parent].config, scopes[parent].inherited()
        else:
            base = starts[index] or Image(ImageConfig.scratch(request.platform))
            config = base.config
            scope = Scope.from_image(f"{name}={value}" for name, value in config.env.items())
        config = config.with_env(scope.image_env).with_run(OnBuild=None)
        state = StageState(index, config, scope, around)
        is_fresh = (planned.stage.name or "").lower() in request.fresh_stages
        steps = tuple(
            _plan_step(state, number, instruction, is_fresh=is_fresh)
            for number, instruction in enumerate(planned.instructions, start=1)
        )
        name = planned.stage.name or f"stage-{index}"
        plans[index] = StagePlan(index, name, planned.stage.from_, parent, base, config, steps)
        scopes[index] = state.scope
    return plans


def _plan_step(state: StageState, number: int, instruction: Instruction, *, is_fresh: bool) -> Step:
    with located(instruction):
        layer = apply_instruction(state, instruction)
    if layer is not None and is_fresh:
        layer = replace(layer, is_fresh=True)
    return Step(state.index, number, instruction, state.config, layer)
