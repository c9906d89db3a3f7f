"""What the cache says of a plan before any work."""

from collections.abc import Mapping
from typing import Any

import pytest

from knarr.builder.cache.decisions import Decisions, decide
from knarr.builder.plan.plan import Plan
from knarr.builder.request.cache_settings import CacheRules
from knarr.builder.request.exports import Export, ExportKind
from knarr.builder.request.request import Outputs
from knarr.errors import ContextError
from knarr.oci.reference import Reference
from support.fake_backend import NO_RUN
from support.memory_registry import MemoryRegistry
from support.planned_builds import Workshop

LINES = """\
FROM base AS tools
COPY tool.txt /
RUN copy /tool.txt /tool
FROM base
COPY app.txt /
COPY --from=tools /tool /tool
CMD ["/tool"]
"""
STEPS = "FROM base\nRUN write /one 1\nRUN write /two 2\n"
ABSENT = "not in the cache"
DAMAGED = "its entry in the cache is damaged"
RUNS_ALONE = CacheRules()
COPIES_ALONE = CacheRules(run_layers=False, copy_layers=True)


@pytest.fixture
def files(workshop: Workshop) -> None:
    workshop.write({"tool.txt": "tool", "app.txt": "app"})


def said(plan: Plan, decisions: Decisions) -> Mapping[str, str]:
    """Verdicts by step: `hit`, `unknown`, or why there is no entry."""
    found = {}
    for stage in plan.stages.values():
        for step in stage.steps:
            if step.layer is not None:
                verdict = decisions.of(step)
                hit_or_not = "unknown" if verdict is None else verdict.reason or "hit"
                found[step.id] = hit_or_not
    return found


def decided(workshop: Workshop, dockerfile: str, **changes: Any) -> tuple[Plan, Decisions]:
    with workshop.open(dockerfile, **_cached(workshop, changes)) as opened:
        plan = opened.build.resolve()
        assert opened.build.tools.cache is not None
        decisions = decide(plan, opened.build.tools.cache.steps)
        assert opened.backend.events == []
    return plan, decisions


def _cached(workshop: Workshop, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {"cache": workshop.cache(), **changes}


def build(workshop: Workshop, dockerfile: str, **changes: Any) -> None:
    with workshop.open(dockerfile, **_cached(workshop, changes)) as opened:
        opened.execute()


@pytest.mark.usefixtures("files")
def test_of_an_empty_cache(workshop: Workshop) -> None:
    plan, decisions = decided(workshop, LINES)
    assert said(plan, decisions) == {"0/1": ABSENT, "0/2": ABSENT, "1/1": ABSENT, "1/2": "unknown"}
    assert decisions.has_cache
    assert decisions.needed_stages(plan) == (1,)
    assert decisions.processes(plan) == ()


@pytest.mark.usefixtures("files")
def test_of_a_build_that_was_done_before(workshop: Workshop) -> None:
    build(workshop, LINES)
    plan, decisions = decided(workshop, LINES)
    assert set(said(plan, decisions).values()) == {"hit"}
    assert decisions.needed_stages(plan) == (1,)
    assert decisions.processes(plan) == ()
    assert not any(decisions.is_made(step) for step in plan.target.steps)


@pytest.mark.usefixtures("files")
def test_a_source_stage_is_needed_when_a_copy_of_it_must_be_made(workshop: Workshop) -> None:
    build(workshop, LINES)
    workshop.write({"app.txt": "changed"})
    plan, decisions = decided(workshop, LINES)
    assert said(plan, decisions) == {"0/1": "hit", "0/2": "hit", "1/1": ABSENT, "1/2": ABSENT}
    assert decisions.needed_stages(plan) == (0, 1)
    assert [step.id for step in plan.target.steps if decisions.is_made(step)] == ["1/1", "1/2"]


@pytest.mark.usefixtures("files")
def test_a_change_in_a_source_stage_leaves_its_consumer_unknown(workshop: Workshop) -> None:
    build(workshop, LINES)
    workshop.write({"tool.txt": "changed"})
    plan, decisions = decided(workshop, LINES)
    assert said(plan, decisions) == {"0/1": ABSENT, "0/2": ABSENT, "1/1": "hit", "1/2": "unknown"}
    assert decisions.needed_stages(plan) == (1,)


def test_what_follows_a_process_that_must_run_is_unknown(workshop: Workshop) -> None:
    build(workshop, STEPS)
    plan, decisions = decided(workshop, STEPS.replace("/one", "/other"))
    assert said(plan, decisions) == {"0/1": ABSENT, "0/2": "unknown"}
    assert [step.id for step in decisions.processes(plan)] == ["0/1"]


def test_a_stage_on_another_goes_on_from_its_verdicts(workshop: Workshop) -> None:
    lines = STEPS.replace("FROM base", "FROM base AS below") + "FROM below\nRUN write /three 3\n"
    build(workshop, lines)
    plan, decisions = decided(workshop, lines + "RUN write /four 4\n")
    assert said(plan, decisions) == {"0/1": "hit", "0/2": "hit", "1/1": "hit", "1/2": ABSENT}
    assert decisions.needed_stages(plan) == (0, 1)
    assert [step.id for step in decisions.processes(plan)] == ["1/2"]


@pytest.mark.usefixtures("files")
def test_only_what_was_asked_for_is_looked_up(workshop: Workshop) -> None:
    build(workshop, LINES, cache=workshop.cache(rules=RUNS_ALONE))
    plan, decisions = decided(workshop, LINES, cache=workshop.cache(rules=RUNS_ALONE))
    not_asked = "not asked for (--cache-copy-layers)"
    assert said(plan, decisions) == {"0/1": not_asked, "0/2": "hit", "1/1": not_asked, "1/2": not_asked}


@pytest.mark.usefixtures("files")
def test_a_stage_that_runs_each_time_has_no_key(workshop: Workshop) -> None:
    settings = workshop.cache(rules=COPIES_ALONE)
    build(workshop, LINES, cache=settings)
    plan, decisions = decided(workshop, LINES, cache=settings)
    not_asked = "not asked for (--cache-run-layers)"
    assert said(plan, decisions) == {"0/1": "hit", "0/2": not_asked, "1/1": "hit", "1/2": "unknown"}


def test_targets_are_needed_in_any_case(workshop: Workshop) -> None:
    lines = "FROM base AS a\nRUN write /a 1\nFROM base AS b\nRUN write /b 1\n"
    build(workshop, lines, targets=("b", "a"))
    plan, decisions = decided(workshop, lines, targets=("b", "a"))
    assert decisions.needed_stages(plan) == (0, 1)


def test_without_a_cache_every_step_is_made(workshop: Workshop) -> None:
    lines = "FROM base AS a\nRUN write /a 1\nFROM base\nCOPY --from=a /a /\nENV A=1\n"
    plan = workshop.plan(lines)
    decisions = decide(plan, None)
    assert not decisions.has_cache
    assert [decisions.is_made(step) for step in plan.target.steps] == [True, False]
    assert decisions.needed_stages(plan) == (0, 1)
    assert [step.id for step in decisions.processes(plan)] == ["0/1"]


def test_a_source_that_is_missing_is_told_with_its_line(workshop: Workshop) -> None:
    with pytest.raises(ContextError, match="nosuch") as caught:
        decided(workshop, "FROM base\nENV A=1\nCOPY nosuch /\n")
    assert caught.value.line == 3
    assert caught.value.message.count("Dockerfile:") == 1


class Shared:
    """A build whose cache is in a repository of a registry in memory, so that layers are pulled late."""

    def __init__(self, workshop: Workshop, memory: MemoryRegistry) -> None:
        self.workshop = workshop
        self.memory = memory
        self.cache = workshop.cache(Reference(memory.host, "app/cache"))
        with workshop.open(STEPS, cache=self.cache) as opened:
            image = opened.execute()
        self.layers = [layer.descriptor.digest for layer in image.layers]

    def pulls(self) -> list[int]:
        return [self.memory.pulled(digest) for digest in self.layers[1:]]


@pytest.fixture
def shared(workshop: Workshop, memory: MemoryRegistry) -> Shared:
    return Shared(workshop, memory)


MORE = STEPS + "RUN write /three 3\n"


def test_layers_that_will_be_read_are_pulled_and_checked(shared: Shared) -> None:
    with shared.workshop.open(MORE, cache=shared.cache) as opened:
        plan = opened.build.resolve()
        decisions = opened.build.decide(plan)
        assert said(plan, decisions) == {"0/1": "hit", "0/2": "hit", "0/3": ABSENT}
        assert shared.pulls() == [1, 1]
        opened.build.execute(plan, decisions)
        assert shared.pulls() == [1, 1]
    assert opened.warnings == []


def test_a_damaged_layer_that_will_be_read_is_found_before_the_work(shared: Shared) -> None:
    shared.memory.damaged.add(str(shared.layers[1]))
    with shared.workshop.open(MORE, cache=shared.cache) as opened:
        plan = opened.build.resolve()
        decisions = opened.build.decide(plan)
        assert said(plan, decisions) == {"0/1": DAMAGED, "0/2": "unknown", "0/3": "unknown"}
        assert opened.backend.events == []
        assert [step.id for step in decisions.processes(plan)] == ["0/1"]
        image = opened.build.execute(plan, decisions)
        assert opened.ran == ["write /one 1", "write /three 3"]  # the first gave the same layer again
        assert opened.files(image) == {"etc/base": "base", "one": "1", "two": "2", "three": "3"}
    assert len(opened.warnings) == 1
    assert "is not used" in opened.warnings[0]


def test_a_damaged_layer_above_a_good_one(shared: Shared) -> None:
    shared.memory.damaged.add(str(shared.layers[2]))
    with shared.workshop.open(MORE, cache=shared.cache) as opened:
        plan = opened.build.resolve()
        decisions = opened.build.decide(plan)
        assert said(plan, decisions) == {"0/1": "hit", "0/2": DAMAGED, "0/3": "unknown"}
    assert len(opened.warnings) == 1


def test_a_damaged_layer_that_nobody_reads_is_not_pulled(shared: Shared) -> None:
    shared.memory.damaged.add(str(shared.layers[1]))
    with shared.workshop.open(STEPS, cache=shared.cache) as opened:
        plan = opened.build.resolve()
        decisions = opened.build.decide(plan)
        assert set(said(plan, decisions).values()) == {"hit"}
        opened.build.execute(plan, decisions)
    assert shared.pulls() == [0, 0]
    assert opened.warnings == []


def test_outputs_on_disk_read_all_layers(shared: Shared) -> None:
    shared.memory.damaged.add(str(shared.layers[2]))
    outputs = Outputs(exports=(Export("-o", ExportKind.OCI_LAYOUT, shared.workshop.place / "out"),))
    with shared.workshop.open(STEPS, cache=shared.cache, outputs=outputs) as opened:
        plan = opened.build.resolve()
        assert said(plan, opened.build.decide(plan)) == {"0/1": "hit", "0/2": DAMAGED}
    assert len(opened.warnings) == 1


@pytest.mark.parametrize(("host", "pulls"), [("", 0), ("other.test", 1)])
def test_a_push_reads_what_another_registry_has(shared: Shared, host: str, pulls: int) -> None:
    outputs = Outputs((Reference(host or shared.memory.host, "app", tag="1"),))
    with shared.workshop.open(STEPS, cache=shared.cache, outputs=outputs) as opened:
        opened.build.decide(opened.build.resolve())
    assert shared.pulls() == [pulls, pulls]


def test_nothing_is_pulled_for_a_step_that_cannot_run(shared: Shared) -> None:
    shared.memory.damaged.add(str(shared.layers[1]))
    with shared.workshop.open(MORE, abilities=NO_RUN, cache=shared.cache) as opened:
        plan = opened.build.resolve()
        decisions = opened.build.decide(plan)
        assert said(plan, decisions) == {"0/1": "hit", "0/2": "hit", "0/3": ABSENT}
    assert shared.pulls() == [0, 0]
    assert opened.warnings == []


def test_a_source_stage_that_will_be_read_is_checked(workshop: Workshop, memory: MemoryRegistry) -> None:
    cache = workshop.cache(Reference(memory.host, "app/cache"))
    lines = "FROM base AS tools\nRUN write /tool 1\nFROM base\nCOPY --from=tools /tool /{}\n"
    with workshop.open(lines.format("tools"), cache=cache, targets=("tools",)) as opened:
        tool = opened.execute().layers[1].descriptor.digest
    build(workshop, lines.format("a"), cache=cache)
    memory.damaged.add(str(tool))
    with workshop.open(lines.format("b"), cache=cache) as opened:
        plan = opened.build.resolve()
        decisions = opened.build.decide(plan)
        assert said(plan, decisions)["0/1"] == DAMAGED
        assert opened.backend.events == []
