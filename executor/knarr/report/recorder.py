"""Takes events, keeps them as a record with times."""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.progress import (
    BaseResolved,
    BuildPlanned,
    CacheJudged,
    CheckFound,
    Direction,
    Event,
    Failed,
    ImageBuilt,
    Note,
    Phase,
    Pushed,
    SourceRead,
    StageEnded,
    StageStarted,
    StepEnded,
    StepFailed,
    StepStarted,
    Transfer,
    TransferProgress,
    Transferred,
    TransferStarted,
    stage_of,
)
from knarr.report.record import BuildRecord, Move, Span, Stage, Step, Verdict

_MOST_WARNINGS = 1000
_DIRECTIONS: Mapping[str, Direction] = {
    "pulled": "pull",
    "pushed": "push",
    "mounted": "push",
    "exists": "push",
}


class Recorder:
    """Fills a record; for one thread at a time."""

    def __init__(self, clock: Callable[[], float], *, began_at_s: float = 0.0) -> None:
        self.record = BuildRecord(began_at_s)
        self._clock = clock
        self._start = clock()
        self._open: dict[Transfer, Move] = {}

    @property
    def now_s(self) -> float:
        """Seconds since the build began."""
        return self._clock() - self._start

    def report(self, event: Event) -> None:
        """Take an event."""
        handle = _HANDLERS.get(type(event))
        if handle is not None:
            handle(self, event, self.now_s)

    def end(self) -> None:
        """The build is over."""
        self._end_phases(self.now_s)
        self.record.ended_s = self.now_s

    def _note(self, event: Note, _now_s: float) -> None:
        if event.level == "warning" and len(self.record.warnings) < _MOST_WARNINGS:
            self.record.warnings.append(event.text)

    def _source(self, event: SourceRead, _now_s: float) -> None:
        self.record.source_path, self.record.source_text = event.path, event.text

    def _check(self, event: CheckFound, _now_s: float) -> None:
        self.record.checks.append(event)

    def _base(self, event: BaseResolved, _now_s: float) -> None:
        self.record.bases.append(event)

    def _planned(self, event: BuildPlanned, _now_s: float) -> None:
        self.record.planned_steps = event.steps

    def _stage(self, event: StageStarted, _now_s: float) -> None:
        self._begin(Stage(event.stage, event.name, event.base, event.line))

    def _begin(self, stage: Stage) -> Stage:
        self.record.stages.append(stage)
        self.record.open_stages.append(stage)
        return stage

    def _stage_ended(self, event: StageEnded, _now_s: float) -> None:
        self.record.open_stages = [each for each in self.record.open_stages if each.id != event.stage]

    def _step(self, event: StepStarted, now_s: float) -> None:
        stage_id = stage_of(event.step)
        stage = next((each for each in reversed(self.record.open_stages) if each.id == stage_id), None)
        if stage is None:
            stage = self._begin(Stage(stage_id, event.stage, "", 0))
        stage.steps.append(
            Step(
                event.step,
                event.stage,
                event.number,
                event.total,
                event.text,
                event.line,
                event.end_line,
                Span("step", now_s),
                verdict=self.record.verdicts.get(event.step),
            )
        )

    def _judged(self, event: CacheJudged, _now_s: float) -> None:
        verdict = Verdict(event.is_hit, event.reason)
        self.record.verdicts[event.step] = verdict
        step = self.record.step_of(event.step)
        if step is not None:
            step.verdict = verdict

    def _phase(self, event: Phase, now_s: float) -> None:
        step = self.record.step_of(event.step) if event.step else self.record.step
        if step is not None and not step.is_done:
            step.end_phase(now_s)
            step.phases.append(Span(event.name, now_s))

    def _end_phases(self, now_s: float) -> None:
        for step in self.record.steps:
            step.end_phase(now_s)

    def _step_ended(self, event: StepEnded, now_s: float) -> None:
        step = self.record.step_of(event.step)
        if step is not None:
            step.end_phase(now_s)
            step.span.ended_s = now_s
            step.layer_bytes, step.layer_digest = event.layer_bytes, event.layer_digest

    def _step_failed(self, event: StepFailed, now_s: float) -> None:
        step = self.record.step_of(event.step)
        if step is not None:
            step.end_phase(now_s)
            step.span.ended_s = now_s
            step.is_failed = True

    def _transfer(self, event: TransferStarted, now_s: float) -> None:
        move = self._open.get(event.transfer)
        if move is None:
            move = self._open[event.transfer] = Move(event.transfer, Span(event.transfer.direction, now_s))
            self.record.moves.append(move)
        move.done_bytes = 0

    def _progress(self, event: TransferProgress, _now_s: float) -> None:
        move = self._open.get(event.transfer)
        if move is not None:
            move.done_bytes = event.done_bytes

    def _transferred(self, event: Transferred, now_s: float) -> None:
        if not event.repository:
            return
        transfer = Transfer(_DIRECTIONS[event.how], event.repository, event.digest, event.size_bytes)
        move = self._open.pop(transfer, None)
        if move is None:
            move = Move(transfer, Span(transfer.direction, max(0.0, now_s - event.duration_s)))
            self.record.moves.append(move)
        move.how, move.span.ended_s = event.how, now_s
        move.done_bytes = event.size_bytes if event.how in ("pulled", "pushed") else 0

    def _image(self, event: ImageBuilt, _now_s: float) -> None:
        self.record.image = event

    def _pushed(self, event: Pushed, _now_s: float) -> None:
        self.record.pushed.append((event.reference, event.digest))

    def _failed(self, event: Failed, now_s: float) -> None:
        self.record.failure = event
        self._end_phases(now_s)


_HANDLERS: Mapping[type, Callable[[Recorder, Any, float], None]] = {
    Note: Recorder._note,
    SourceRead: Recorder._source,
    CheckFound: Recorder._check,
    BaseResolved: Recorder._base,
    BuildPlanned: Recorder._planned,
    StageStarted: Recorder._stage,
    StageEnded: Recorder._stage_ended,
    StepStarted: Recorder._step,
    CacheJudged: Recorder._judged,
    Phase: Recorder._phase,
    StepEnded: Recorder._step_ended,
    StepFailed: Recorder._step_failed,
    TransferStarted: Recorder._transfer,
    TransferProgress: Recorder._progress,
    Transferred: Recorder._transferred,
    ImageBuilt: Recorder._image,
    Pushed: Recorder._pushed,
    Failed: Recorder._failed,
}
