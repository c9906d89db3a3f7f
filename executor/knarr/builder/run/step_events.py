"""What is told of a step: that it starts, what the cache said of it, that it ends or fails."""

import time

from knarr.builder.plan.plan import StagePlan
from knarr.builder.plan.steps import Step
from knarr.images.image import Layer
from knarr.progress import CacheJudged, Reporter, StepEnded, StepFailed, StepStarted


class StepEvents:
    """The events of one step."""

    def __init__(self, reporter: Reporter, stage: StagePlan, step: Step) -> None:
        self._reporter = reporter
        self._stage = stage
        self._step = step
        self._started_s: float | None = None

    def start(self) -> None:
        """Say that the step starts, once."""
        if self._started_s is None:
            self._started_s = time.monotonic()
            instruction, step = self._step.instruction, self._step
            line, end_line = instruction.location.line, instruction.end_line
            name, total = self._stage.name, len(self._stage.steps)
            self._reporter.report(StepStarted(step.id, name, step.number, total, step.text, line, end_line))

    def judged(self, *, is_hit: bool, reason: str) -> None:
        """Say whether the cache has its layer."""
        step = self._step
        self._reporter.report(CacheJudged(step.id, step.stage, step.number, step.text, is_hit, reason))

    def fail(self) -> None:
        """Say that it has failed."""
        self.start()
        assert self._started_s is not None
        took_s = time.monotonic() - self._started_s
        name, total = self._stage.name, len(self._stage.steps)
        self._reporter.report(StepFailed(self._step.id, name, self._step.number, total, took_s))

    def end(self, layer: Layer | None) -> None:
        """Say that it is done."""
        self.start()
        assert self._started_s is not None
        size, digest = None, ""
        if layer is not None:
            size, digest = layer.descriptor.size_bytes, str(layer.descriptor.digest)
        took_s = time.monotonic() - self._started_s
        name, total = self._stage.name, len(self._stage.steps)
        self._reporter.report(StepEnded(self._step.id, name, self._step.number, total, took_s, size, digest))
