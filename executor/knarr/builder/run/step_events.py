"""What is told of a step: that it starts, that it ends."""

import time

from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.images.image import Layer
from knarr.progress import Reporter, StepEnded, StepStarted


class StepEvents:
    """The events of one step."""

    def __init__(
        self,
        reporter: Reporter,
        step: str,
        stage_name: str,
        instruction: Instruction,
        number: int,
        total: int,
    ) -> None:
        self._reporter = reporter
        self.step = step
        self._stage_name = stage_name
        self._instruction = instruction
        self.number = number
        self._total = total
        self._started_s: float | None = None

    @property
    def text(self) -> str:
        """The instruction as the user wrote it, without credentials."""
        return without_credentials(self._instruction.original)

    def report(self) -> None:
        """Say that the step starts, once."""
        if self._started_s is None:
            self._started_s = time.monotonic()
            line, end_line = self._instruction.location.line, self._instruction.end_line
            name, number, total = self._stage_name, self.number, self._total
            self._reporter.report(StepStarted(self.step, name, number, total, self.text, line, end_line))

    def end(self, layer: Layer | None) -> None:
        """Say that it is done."""
        self.report()
        assert self._started_s is not None
        size, digest = None, ""
        if layer is not None:
            size, digest = layer.descriptor.size_bytes, str(layer.descriptor.digest)
        took_s = time.monotonic() - self._started_s
        name, number, total = self._stage_name, self.number, self._total
        self._reporter.report(StepEnded(self.step, name, number, total, took_s, size, digest))
