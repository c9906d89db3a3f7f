"""Events as a record."""

from knarr.progress import (
    CacheJudged,
    Failed,
    Phase,
    StageEnded,
    StageStarted,
    StepEnded,
    StepFailed,
    StepStarted,
)
from knarr.report.recorder import Recorder
from support.report_replay import Clock


def recorded() -> tuple[Recorder, Clock]:
    """A recorder with two stages, whose first steps are both under way."""
    clock = Clock()
    recorder = Recorder(clock)
    for index, name in enumerate(("one", "two")):
        recorder.report(StageStarted(str(index), index, name, "scratch"))
        recorder.report(StepStarted(f"{index}/1", name, 1, 2, f"RUN {name}"))
    return recorder, clock


def test_events_of_stages_side_by_side_go_to_their_steps() -> None:
    recorder, clock = recorded()
    recorder.report(Phase("run", step="0/1"))
    recorder.report(Phase("extract", step="1/1"))
    clock.now_s += 2
    recorder.report(Phase("snapshot", step="0/1"))
    recorder.report(CacheJudged("0/1", 0, 1, "RUN one", is_hit=True))
    recorder.report(StepEnded("0/1", "one", 1, 2, 2.0, 10, "sha256:a"))
    one, two = recorder.record.steps
    assert [(phase.name, phase.started_s, phase.ended_s) for phase in one.phases] == [
        ("run", 0, 2),
        ("snapshot", 2, 2),
    ]
    assert [(phase.name, phase.ended_s) for phase in two.phases] == [("extract", None)]
    assert (one.is_done, one.layer_bytes, one.verdict is not None) == (True, 10, True)
    assert (two.is_done, two.layer_bytes, two.verdict) == (False, None, None)


def test_a_step_that_fails_ends_then_and_not_with_the_build() -> None:
    recorder, clock = recorded()
    recorder.report(Phase("run", step="1/1"))
    clock.now_s += 2
    recorder.report(StepFailed("1/1", "two", 1, 2, 2.0))
    clock.now_s += 10
    recorder.report(Failed("it failed"))
    recorder.end()
    record = recorder.record
    failed = record.failed_step
    assert failed is not None
    assert (failed.id, failed.is_done, failed.span.duration_s(record.now_s())) == ("1/1", False, 2)
    assert [(phase.name, phase.ended_s) for phase in failed.phases] == [("run", 2)]
    assert record.ended_s == 12


def test_stages_end_in_any_order() -> None:
    recorder, _ = recorded()
    recorder.report(StepEnded("0/1", "one", 1, 2, 0.0))
    recorder.report(StepStarted("0/2", "one", 2, 2, "RUN more"))
    recorder.report(StepEnded("0/2", "one", 2, 2, 0.0))
    recorder.report(StageEnded("0", 0))
    one, two = recorder.record.stages
    assert [step.id for step in one.steps] == ["0/1", "0/2"]
    assert recorder.record.open_stages == [two]
    assert recorder.record.step is two.steps[0]


def test_verdict_may_come_before_its_step() -> None:
    recorder, _ = recorded()
    recorder.report(CacheJudged("0/2", 0, 2, "RUN more", is_hit=False, reason="new"))
    recorder.report(StepStarted("0/2", "one", 2, 2, "RUN more"))
    step = recorder.record.step_of("0/2")
    assert step is not None
    assert step.verdict is not None
    assert step.verdict.reason == "new"


def test_phase_without_a_step_is_of_the_last_one() -> None:
    recorder, clock = recorded()
    recorder.report(Phase("compress"))
    clock.now_s += 1
    recorder.end()
    one, two = recorder.record.steps
    assert one.phases == []
    assert [phase.ended_s for phase in two.phases] == [1]


def test_stage_begun_anew_has_steps_of_its_own() -> None:
    recorder, _ = recorded()
    recorder.report(StageEnded("1", 1))
    recorder.report(StageStarted("1", 1, "two", "scratch"))
    recorder.report(StepStarted("1/1", "two", 1, 2, "RUN two"))
    recorder.report(StepEnded("1/1", "two", 1, 2, 0.0, 10))
    _, first, second = recorder.record.stages
    assert [step.is_done for step in first.steps] == [False]
    assert [step.is_done for step in second.steps] == [True]
