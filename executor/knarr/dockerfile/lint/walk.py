"""Stages as the checks see them: instructions expanded in order, with the variables that had no value.

Nothing is built. What can't be expanded stays as written: the build itself will say what is wrong.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.expand import LexerRules, expand
from knarr.dockerfile.language.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Instruction,
    Label,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from knarr.dockerfile.language.mount import parse_mount
from knarr.dockerfile.language.scope import Scope
from knarr.dockerfile.language.substitute import substitute
from knarr.dockerfile.stages.stages import (
    SCRATCH,
    ContextReference,
    ImageReference,
    PlannedStage,
    ScratchReference,
    StageReference,
)
from knarr.errors import DockerfileError
from knarr.oci.platform import Platform

_BODY = LexerRules(quotes=False)


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What the checks want of a base image's config; `has_shell` where it has a SHELL of its own."""

    env: Mapping[str, str]
    platform: Platform
    has_shell: bool = False


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What the stages are read with; `bases` are the base images looked at, by stage index.

    `platform` is the one an image is built for.
    """

    global_args: Mapping[str, str]
    build_args: Mapping[str, str]
    platform: Platform
    escape: str = "\\"
    ignore: IgnorePatterns = field(default_factory=IgnorePatterns)
    bases: Mapping[int, BaseImage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction, expanded; `scope` is that before it, `missing` its variables without a value.

    A name stands in `missing` once a word that uses it.
    """

    instruction: Instruction
    missing: tuple[str, ...]
    scope: Scope


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage; `base` is its base image where that was looked at.

    `knows_env` False: an image that was not looked at may define any variable. `has_shell`, `has_workdir`:
    a SHELL, or a WORKDIR of this file, is in effect at its start.
    """

    planned: PlannedStage
    context: CheckContext
    steps: tuple[Step, ...]
    end_scope: Scope
    base: BaseImage | None = None
    knows_env: bool = True
    has_shell: bool = False
    has_workdir: bool = False

    @property
    def platform(self) -> Platform:
        """The platform its base image should be for; raises UsageError for a wrong `--platform`."""
        text = self.planned.platform
        return Platform.parse(text) if text else self.context.platform

    @property
    def base_name(self) -> str:
        """The base image's name as FROM has it, variables replaced."""
        base = self.planned.base
        return base.name if isinstance(base, ImageReference | ContextReference) else SCRATCH


def view_stages(plan: Iterable[PlannedStage], context: CheckContext) -> tuple[StageView, ...]:
    """The stages in order; a stage's parent must be among them, before it."""
    views: dict[int, StageView] = {}
    for planned in plan:
        parent = views.get(planned.base.index) if isinstance(planned.base, StageReference) else None
        views[planned.stage.index] = _view(planned, parent, context)
    return tuple(views.values())


def _view(planned: PlannedStage, parent: StageView | None, context: CheckContext) -> StageView:
    if parent is not None:
        steps, scope = _walk(planned, parent.end_scope.inherited(), context)
        return StageView(
            planned,
            context,
            steps,
            scope,
            knows_env=parent.knows_env,
            has_shell=parent.has_shell or _any(parent.steps, Shell),
            has_workdir=parent.has_workdir or _any(parent.steps, Workdir),
        )
    base = context.bases.get(planned.stage.index)
    env = base.env if base is not None else {}
    steps, scope = _walk(planned, Scope.from_image(f"{key}={value}" for key, value in env.items()), context)
    return StageView(
        planned,
        context,
        steps,
        scope,
        base=base,
        knows_env=base is not None or isinstance(planned.base, ScratchReference),
        has_shell=base is not None and base.has_shell,
    )


def _any(steps: Iterable[Step], kind: type[Instruction]) -> bool:
    return any(isinstance(step.instruction, kind) for step in steps)


def _walk(planned: PlannedStage, scope: Scope, context: CheckContext) -> tuple[tuple[Step, ...], Scope]:
    steps: list[Step] = []
    for instruction in planned.instructions:
        if isinstance(instruction, Arg):
            missing, after = _declare(instruction, scope, context)
            steps.append(Step(instruction, missing, scope))
        else:
            missing = tuple(_missing(_words(instruction, context.escape), scope))
            expanded = _expanded(instruction, scope, context.escape)
            steps.append(Step(expanded, missing, scope))
            after = scope
            if isinstance(expanded, Env):
                after = scope.set_env((pair.key, pair.value) for pair in expanded.pairs)
        scope = after
    return tuple(steps), scope


def _declare(arg: Arg, scope: Scope, context: CheckContext) -> tuple[tuple[str, ...], Scope]:
    """The names missing in defaults that are used, each seen with the declarations before it."""
    missing: list[str] = []
    rules = LexerRules(escape=context.escape)
    for declaration in arg.declarations:
        if declaration.default is not None and declaration.key not in context.build_args:
            missing.extend(_missing([(declaration.default, rules)], scope))
        single = replace(arg, declarations=(declaration,))
        try:
            scope = scope.declare_arg(
                single,
                build_args=context.build_args,
                global_args=context.global_args,
                escape=context.escape,
            )
        except DockerfileError:
            scope = replace(scope, args=(*scope.args, (declaration.key, None)))
    return tuple(missing), scope


def _expanded(instruction: Instruction, scope: Scope, escape: str) -> Instruction:
    try:
        return substitute(instruction, scope.expansion_env(), escape=escape)
    except DockerfileError:
        return instruction


def _missing(words: Iterable[tuple[str, LexerRules]], scope: Scope) -> Iterator[str]:
    """Variables without a value; an ARG that has none is declared all the same."""
    declared = {key for key, _ in scope.args}
    for word, rules in words:
        try:
            yield from sorted(expand(word, scope.expansion_env(), rules).missing - declared)
        except DockerfileError:
            continue


def _words(instruction: Instruction, escape: str) -> Iterator[tuple[str, LexerRules]]:
    """The words in which BuildKit minds variables without a value: EXPOSE's are not among them."""
    rules = LexerRules(escape=escape)
    for word in _plain_words(instruction):
        if word:
            yield word, rules
    if isinstance(instruction, Add | Copy):
        for file in instruction.files:
            if file.expand:
                yield file.body, _BODY


def _plain_words(instruction: Instruction) -> Iterable[str | None]:
    match instruction:
        case Env() | Label():
            return [word for pair in instruction.pairs for word in (pair.key, pair.value)]
        case Add():
            flags = (instruction.chown, instruction.chmod, instruction.checksum)
            return [*flags, *instruction.sources, instruction.destination]
        case Copy():
            return [instruction.chown, instruction.chmod, *instruction.sources, instruction.destination]
        case Run():
            return [value for mount in instruction.mounts for value in _mount_values(mount)]
        case Stopsignal():
            return [instruction.signal]
        case User():
            return [instruction.user]
        case Volume():
            return instruction.paths
        case Workdir():
            return [instruction.path]
        case _:
            return ()


def _mount_values(mount: str) -> list[str]:
    values: list[str] = []

    def keep(value: str) -> str:
        values.append(value)
        return value

    try:
        parse_mount(mount, keep)
    except DockerfileError:
        pass  # a value that is a variable need not parse as written
    return values
