"""What the cache says of a plan before any work: which steps it has, which must be made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knarr.builder.cache.cached_layers import CachedLayers
from knarr.builder.cache.state import CacheState, StepVerdict
from knarr.builder.cache.step_cache import StepCache
from knarr.builder.plan.located import located
from knarr.builder.plan.plan import Plan
from knarr.builder.plan.steps import RunStep, Step
from knarr.builder.request.request import Outputs
from knarr.images.image import Layer

_MADE = StepVerdict()
"""The verdict on every step of a build without a cache."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Verdicts by step id; a step that takes work to be judged has none.

    `verdicts` None is a build without a cache, which makes every step.
    """

    verdicts: Mapping[str, StepVerdict] | None = field(default=None)

    @property
    def has_cache(self) -> bool:
        """Whether there is a cache at all."""
        return self.verdicts is not None

    def of(self, step: Step) -> StepVerdict | None:
        """What is decided of a step that makes a layer; None where that takes work to be known."""
        return _MADE if self.verdicts is None else self.verdicts.get(step.id)

    def is_made(self, step: Step) -> bool:
        """Whether it is sure that the layer of a step must be made."""
        verdict = self.of(step) if step.layer is not None else None
        return verdict is not None and verdict.layer is None

    def needed_stages(self, plan: Plan) -> tuple[int, ...]:
        """The stages that are sure to be needed, in an order to build them in.

        A stage whose consumers are all cached is not among them, nor what only an undecided step may need.
        """
        needed: set[int] = set()
        waiting = list(plan.targets)
        while waiting:
            stage = plan.stages[waiting.pop()]
            if stage.index in needed:
                continue
            needed.add(stage.index)
            if stage.parent is not None:
                waiting.append(stage.parent)
            waiting += (each for step in stage.steps if self.is_made(step) for each in step.source_stages)
        return tuple(index for index in plan.stages if index in needed)

    def processes(self, plan: Plan) -> tuple[Step, ...]:
        """The RUN steps that are sure to be run."""
        return tuple(
            step
            for index in self.needed_stages(plan)
            for step in plan.stages[index].steps
            if isinstance(step.layer, RunStep) and self.is_made(step)
        )


def decide(plan: Plan, cache: StepCache | None) -> Decisions:
    """Look all steps up that can be known before any work; nothing is pulled but the cache's entries.

    Raises KnarrError for what a step takes from the build context, never for the cache.
    """
    if cache is None:
        return Decisions()
    ask(plan, cache)
    verdicts: dict[str, StepVerdict] = {}
    ends: dict[int, CacheState] = {}
    for stage in plan.stages.values():
        state = cache.first_state(stage) if stage.parent is None else ends[stage.parent]
        for step in stage.steps:
            if step.layer is None:
                continue
            with located(step.instruction):
                verdict = cache.foresee(state, step.layer)
            if verdict is None:
                state = CacheState(None, "")
                continue
            verdicts[step.id] = verdict
            state = verdict.after(state, step.layer, verdict.layer)
        ends[stage.index] = state
    return Decisions(verdicts)


def decide_soundly(
    plan: Plan, cache: StepCache, layers: CachedLayers, outputs: Outputs, *, can_run: bool
) -> Decisions:
    """As `decide`, but of no layer that is sure to be read and turns out to be damaged.

    The layers that the outputs, or the steps to be made, read are pulled and checked. That is left out where
    a step must be run and none can be (`can_run`): such a build fails anyway.
    """
    while True:
        decisions = decide(plan, cache)
        if not can_run and decisions.processes(plan):
            return decisions
        for verdict in (decisions.verdicts or {}).values():
            if verdict.layer is not None and verdict.key is not None:
                layers.add(verdict.layer, verdict.key)
        if layers.first_damaged(_layers_read(plan, decisions, outputs)) is None:
            return decisions


def ask(plan: Plan, cache: StepCache) -> None:
    """Begin all lookups, so that they go on side by side."""
    ends: dict[int, CacheState] = {}
    for stage in plan.stages.values():
        state = cache.first_state(stage) if stage.parent is None else ends[stage.parent]
        for step in stage.steps:
            if step.layer is not None:
                with located(step.instruction):
                    state = cache.ask(state, step.layer)
        ends[stage.index] = state
        cache.keys.know_stage(stage.index, state)


def _layers_read(plan: Plan, decisions: Decisions, outputs: Outputs) -> list[Layer]:
    """The cached layers that are sure to be read."""
    read: dict[int, None] = {}
    for index in decisions.needed_stages(plan):
        made = [step for step in plan.stages[index].steps if decisions.is_made(step)]
        if made:
            read[index] = None
        read |= dict.fromkeys(source for step in made for source in step.source_stages)
    found = [layer for index in read for layer in _cached_layers(plan, decisions, index)]
    found += filter(outputs.read, _cached_layers(plan, decisions, plan.targets[0]))
    return found


def _cached_layers(plan: Plan, decisions: Decisions, index: int) -> list[Layer]:
    """The layers that a stage, with those below it, has from the cache."""
    verdicts = [decisions.of(step) for stage in plan.chain(index) for step in stage.steps if step.layer]
    return [verdict.layer for verdict in verdicts if verdict is not None and verdict.layer is not None]
