"""Which stages a target needs, in the order they are built.

A stage may refer to earlier stages alone, so the order of the file is an order to build in, and there are no
cycles. Stages that the target does not need are never looked at.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from knarr.dockerfile.language.expand import LexerRules, expand
from knarr.dockerfile.language.instructions import Copy, Instruction, Onbuild, Run
from knarr.dockerfile.language.mount import mount_from
from knarr.dockerfile.language.parser import Dockerfile, Stage, parse_onbuild
from knarr.dockerfile.stages.context_names import find_context
from knarr.dockerfile.syntax.suggest import did_you_mean
from knarr.dockerfile.syntax.text import parse_index
from knarr.errors import DockerfileError, SourceLocation

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class ScratchReference:
    """FROM scratch: nothing."""


@dataclass(frozen=True, slots=True)
class StageReference:
    """An earlier stage, by index."""

    index: int


@dataclass(frozen=True, slots=True)
class ContextReference:
    """A named build context (`--build-context`)."""

    name: str


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image, by the text that names it."""

    name: str


FromReference = ScratchReference | StageReference | ContextReference | ImageReference


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage to build: FROM expanded, its triggers ahead of its own instructions.

    `triggers` are those of the ONBUILDs in a base stage of this file, or those given for a base image.
    `references` are what COPY --from and RUN --mount=from name, triggers included, each once.
    """

    stage: Stage
    base: FromReference
    platform: str | None
    triggers: tuple[Instruction, ...]
    references: tuple[FromReference, ...]
    is_replaced: bool = False
    """Whether a named context stands in for the whole stage."""

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """Everything to run, in order."""
        return () if self.is_replaced else self.triggers + self.stage.instructions


def resolve_target(dockerfile: Dockerfile, target: str | None) -> Stage:
    """The stage to build: by name in any case, else by number; None is the last of the file."""
    if not target:
        return dockerfile.stages[-1]
    named = _latest(dockerfile.stages, target)
    if named is not None:
        return named
    index = parse_index(target)
    if index is not None and 0 <= index < len(dockerfile.stages):
        return dockerfile.stages[index]
    names = [stage.name for stage in dockerfile.stages if stage.name]
    hint = did_you_mean(target, names) or (f"the stages are {', '.join(names)}" if names else None)
    raise DockerfileError(f"target stage {target!r} could not be found", hint=hint)


def target_name(dockerfile: Dockerfile, target: str | None) -> str | None:
    """What TARGETSTAGE says: the target as it was asked for; the name of the last stage, or of a number's."""
    stage = resolve_target(dockerfile, target)
    return target if target and stage.name == target.lower() else stage.name


def plan_stages(
    dockerfile: Dockerfile,
    target: Stage,
    global_args: Mapping[str, str],
    *,
    contexts: Collection[str] = (),
    image_triggers: Mapping[int, tuple[Instruction, ...]] | None = None,
) -> tuple[PlannedStage, ...]:
    """What `target` needs, itself last; `contexts` are named contexts, which come before stages and images.

    Their names are those that `context_names.context_name` gives.

    `image_triggers` are those of base images, by stage index: an image's ONBUILD may need stages that the
    file alone does not show, so plan again when a base image turns out to have some. Raises DockerfileError.
    """
    triggers = image_triggers or {}
    planned: dict[int, PlannedStage] = {}
    wanted = {target.index}
    for stage in reversed(dockerfile.stages):
        if stage.index not in wanted:
            continue
        plan = _plan_stage(dockerfile, stage, global_args, contexts, triggers.get(stage.index, ()))
        planned[stage.index] = plan
        for reference in (plan.base, *plan.references):
            if isinstance(reference, StageReference):
                wanted.add(reference.index)
    return tuple(planned[index] for index in sorted(planned))


def resolve_from(
    dockerfile: Dockerfile, name: str, *, before: int, contexts: Collection[str] = (), numbered: bool
) -> FromReference:
    """What `COPY --from=name` (`numbered`) or a mount's `from=name` means in stage number `before`.

    Raises DockerfileError without a location.
    """
    context = find_context(name, contexts)
    if context is not None:
        return ContextReference(context)
    index = parse_index(name) if numbered else None
    if index is not None:
        if not 0 <= index < len(dockerfile.stages):
            hint = f"stages are 0 to {len(dockerfile.stages) - 1}"
            raise DockerfileError(f"invalid stage index {index}", hint=hint)
        if index >= before:
            raise _later(name)
        return StageReference(index)
    stage = _latest(dockerfile.stages[:before], name)
    if stage is not None:
        return StageReference(stage.index)
    if _latest(dockerfile.stages, name) is not None:
        raise _later(name)
    return ScratchReference() if name == SCRATCH else ImageReference(name)


def _plan_stage(
    dockerfile: Dockerfile,
    stage: Stage,
    global_args: Mapping[str, str],
    contexts: Collection[str],
    image_triggers: tuple[Instruction, ...],
) -> PlannedStage:
    location = stage.from_.location
    replacement = _replacement(stage, contexts)
    if replacement is not None:
        return replacement
    escape = dockerfile.directives.escape
    image = _expand(stage.from_.image, global_args, escape, location)
    if not image:
        raise _blank(f"base name ({stage.from_.image}) should not be blank", stage, global_args, escape)
    platform = stage.from_.platform
    if platform is not None:
        platform = _expand(platform, global_args, escape, location)
        if not platform:
            message = f"empty platform value from expression {stage.from_.platform}"
            raise _blank(message, stage, global_args, escape)
    base = _resolve_base(dockerfile, image, stage.index, contexts)
    triggers = image_triggers
    if isinstance(base, StageReference) and not _replacement(dockerfile.stages[base.index], contexts):
        triggers = _stage_triggers(dockerfile, base.index, location)
    references = references_of(dockerfile, stage.index, triggers + stage.instructions, contexts)
    return PlannedStage(stage, base, platform, triggers, references)


def _replacement(stage: Stage, contexts: Collection[str]) -> PlannedStage | None:
    """The plan of a stage whose name is that of a named context: it is that context, its text unused."""
    context = find_context(stage.name, contexts) if stage.name is not None else None
    if context is None:
        return None
    return PlannedStage(stage, ContextReference(context), None, (), (), is_replaced=True)


def _resolve_base(
    dockerfile: Dockerfile, image: str, before: int, contexts: Collection[str]
) -> FromReference:
    stage = _latest(dockerfile.stages[:before], image)
    if stage is not None:
        return StageReference(stage.index)
    if image == SCRATCH:
        return ScratchReference()
    context = find_context(image, contexts)
    return ImageReference(image) if context is None else ContextReference(context)


def _stage_triggers(dockerfile: Dockerfile, index: int, location: SourceLocation) -> tuple[Instruction, ...]:
    return tuple(
        parse_onbuild(instruction.trigger, file=dockerfile.file, location=location)
        for instruction in dockerfile.stages[index].instructions
        if isinstance(instruction, Onbuild)
    )


def references_of(
    dockerfile: Dockerfile, before: int, instructions: Iterable[Instruction], contexts: Collection[str]
) -> tuple[FromReference, ...]:
    """What COPY --from and mounts of some instructions of stage number `before` name, each once.

    Raises DockerfileError with the instruction's location.
    """
    found: dict[FromReference, None] = {}
    for instruction in instructions:
        numbered = isinstance(instruction, Copy)
        for name in _names(instruction):
            try:
                reference = resolve_from(
                    dockerfile, name, before=before, contexts=contexts, numbered=numbered
                )
            except DockerfileError as error:
                raise DockerfileError(error.message, location=instruction.location, hint=error.hint) from None
            found[reference] = None
    return tuple(found)


def _names(instruction: Instruction) -> Iterable[str]:
    if isinstance(instruction, Copy):
        return [instruction.from_] if instruction.from_ is not None else []
    if isinstance(instruction, Run):
        return [name for mount in instruction.mounts if (name := mount_from(mount)) is not None]
    return []


def _latest(stages: tuple[Stage, ...], name: str) -> Stage | None:
    """The last of `stages` with that name, in any case."""
    return next((stage for stage in reversed(stages) if stage.name == name.lower()), None)


def _later(name: str) -> DockerfileError:
    return DockerfileError(
        f"cannot copy from stage {name!r}, it needs to be defined before current stage",
        hint="a stage can use the stages above it",
    )


def _expand(text: str, env: Mapping[str, str], escape: str, location: SourceLocation) -> str:
    try:
        return expand(text, env, LexerRules(escape=escape)).text
    except DockerfileError as error:
        raise DockerfileError(error.message, location=location, hint=error.hint) from None


def _blank(message: str, stage: Stage, env: Mapping[str, str], escape: str) -> DockerfileError:
    """The error for a FROM that came out empty, with the misspelt or undeclared argument as hint."""
    text = f"{stage.from_.image} {stage.from_.platform or ''}"
    missing = sorted(expand(text, env, LexerRules(escape=escape)).missing)
    hint = "FROM sees only the ARGs before the first FROM"
    if missing:
        hint = f"{missing[0]} has no value; {did_you_mean(missing[0], env) or hint}"
    return DockerfileError(message, location=stage.from_.location, hint=hint)
