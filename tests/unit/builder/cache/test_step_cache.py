"""One build's view of the cache: where a stage is, what is looked up, what is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from knarr.builder.cache.state import CacheState
from knarr.builder.cache.step_cache import StepCache
from knarr.builder.plan.plan import StagePlan
from knarr.builder.plan.steps import LayerStep
from knarr.builder.request.cache_settings import CacheRules
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.images.image import Layer
from knarr.oci.reference import Reference
from knarr.progress import Event, Note
from support.memory_registry import MemoryRegistry
from support.planned_builds import ALL_LAYERS, Workshop
from support.trees import items_of

LINES = "FROM base\nCOPY <<f /f\nx\nf\nRUN write /one 1\nRUN write /two 2\n"
RUNS_ALONE = CacheRules()


class Opened:
    """The cache of an open build, with its one stage."""

    def __init__(self, steps: StepCache, stage: StagePlan, layer: Layer, events: list[Event]) -> None:
        self.steps = steps
        self.events = events
        self.start = steps.first_state(stage)
        self.layer = layer
        self.copy, self.first, self.second = map(_layer_step, range(3), [stage] * 3)


def _layer_step(number: int, stage: StagePlan) -> LayerStep:
    step = stage.steps[number].layer
    assert step is not None
    return step


@contextmanager
def opened(workshop: Workshop, memory: MemoryRegistry, rules: CacheRules, **changes: Any) -> Iterator[Opened]:
    cache = workshop.cache(Reference(memory.host, "cache"), rules)
    with workshop.open(LINES, cache=cache, **changes) as build:
        plan, tools = build.build.resolve(), build.build.tools
        assert tools.cache is not None
        layer = tools.blobs.write_layer(items_of(["f made =x"]))
        yield Opened(tools.cache.steps, plan.target, layer, build.events)


def test_a_stage_starts_from_its_base_and_the_rules_for_its_layers(
    workshop: Workshop, memory: MemoryRegistry
) -> None:
    with opened(workshop, memory, ALL_LAYERS) as first, opened(workshop, memory, RUNS_ALONE) as second:
        assert first.start == second.start
        assert first.start.key == first.start.state
    with opened(workshop, memory, ALL_LAYERS, snapshots=SnapshotRules(ignored=("tmp",))) as third:
        assert third.start != first.start


@pytest.mark.parametrize(("rules", "count"), [(ALL_LAYERS, 3), (RUNS_ALONE, 2)])
def test_only_steps_that_the_rules_cover_are_asked_for(
    workshop: Workshop, memory: MemoryRegistry, rules: CacheRules, count: int
) -> None:
    with opened(workshop, memory, rules) as cache:
        state = cache.start
        for step in (cache.copy, cache.first, cache.second):
            state = cache.steps.ask(state, step)
            assert state.key is not None
        asked = [event for event in cache.events if isinstance(event, Note) and "Checking" in event.text]
    assert len(asked) == count


def test_what_there_is_after_a_step(workshop: Workshop, memory: MemoryRegistry) -> None:
    """A COPY counts by what it takes, a process by the layer that it made."""
    with opened(workshop, memory, ALL_LAYERS) as cache:
        copied = cache.steps.foresee(cache.start, cache.copy)
        assert copied is not None
        assert (copied.layer, copied.reason) == (None, "not in the cache")
        state = copied.after(cache.start, cache.copy, None)
        assert state.state not in ("", cache.start.state)
        assert state == copied.after(cache.start, cache.copy, cache.layer)
        run = cache.steps.foresee(state, cache.first)
        assert run is not None
        assert run.after(state, cache.first, None).state == ""
        assert run.after(state, cache.first, cache.layer).state not in ("", state.state)
        assert cache.steps.foresee(run.after(state, cache.first, None), cache.second) is None
        assert cache.steps.foresee(CacheState(None, state.state), cache.second) is None


def test_what_was_kept_counts_on_the_same_state(workshop: Workshop, memory: MemoryRegistry) -> None:
    with opened(workshop, memory, ALL_LAYERS) as cache:
        verdict = cache.steps.foresee(cache.start, cache.first)
        assert verdict is not None
        cache.steps.keep(cache.start, cache.first, verdict, cache.layer)
    with opened(workshop, memory, ALL_LAYERS) as cache:
        again = cache.steps.foresee(cache.start, cache.first)
        assert again is not None
        assert again.layer is not None
        assert again.layer.diff_id == cache.layer.diff_id
        other = cache.steps.foresee(replace(cache.start, state="other"), cache.first)
        assert other is not None
        assert (other.layer, other.reason) == (None, "the cached layer was made on something else")


def test_nothing_is_kept_that_was_not_asked_for(workshop: Workshop, memory: MemoryRegistry) -> None:
    with opened(workshop, memory, RUNS_ALONE) as cache:
        verdict = cache.steps.foresee(cache.start, cache.copy)
        assert verdict is not None
        assert verdict.reason == "not asked for (--cache-copy-layers)"
        cache.steps.keep(cache.start, cache.copy, verdict, cache.layer)
    assert memory.manifests == {}
