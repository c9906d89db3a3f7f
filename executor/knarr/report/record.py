"""What has happened in a build so far, as values with times.

Times are seconds since the build began.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from knarr.progress import BaseResolved, CheckFound, Failed, ImageBuilt, Transfer

DOWNLOAD = "download"
UPLOAD = "upload"
PHASES = (DOWNLOAD, "index", "extract", "run", "snapshot", "compress", UPLOAD)
"""The phases in the order of a build; downloads and uploads overlap the others."""


@dataclass(slots=True)
class Span:
    """A stretch of time; `ended_s` is None while it lasts."""

    name: str
    started_s: float
    ended_s: float | None = None

    def duration_s(self, now_s: float) -> float:
        """The seconds that the span took, up to now where it lasts."""
        return (now_s if self.ended_s is None else self.ended_s) - self.started_s


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the cache said of a step."""

    is_hit: bool
    reason: str = ""


@dataclass(slots=True)
class Step:
    """An instruction that was begun."""

    id: str
    stage: str
    """The stage's name."""
    number: int
    total: int
    text: str
    line: int
    end_line: int
    span: Span
    phases: list[Span] = field(default_factory=list)
    layer_bytes: int | None = None
    layer_digest: str = ""
    verdict: Verdict | None = None
    is_failed: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the step has ended well."""
        return self.span.ended_s is not None and not self.is_failed

    @property
    def phase(self) -> Span | None:
        """The phase that the step is in now; None between phases."""
        return self.phases[-1] if self.phases and self.phases[-1].ended_s is None else None

    def end_phase(self, now_s: float) -> None:
        """End the phase that the step is in, if any."""
        if self.phase is not None:
            self.phase.ended_s = now_s


@dataclass(slots=True)
class Stage:
    """A stage that was begun."""

    id: str
    name: str
    base: str
    line: int
    steps: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class Move:
    """A blob that was moved, or spared."""

    transfer: Transfer
    span: Span
    done_bytes: int = 0
    how: str = ""
    """pulled, pushed, mounted or exists; empty while it is under way."""


@dataclass(slots=True)
class BuildRecord:
    """A build."""

    began_at_s: float = 0.0
    """When it began, in seconds since 1970."""
    ended_s: float | None = None
    source_path: str = ""
    source_text: str = ""
    planned_steps: int = 0
    checks: list[CheckFound] = field(default_factory=list)
    bases: list[BaseResolved] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    """The stages in the order in which they were begun."""
    open_stages: list[Stage] = field(default_factory=list)
    """The stages that have not ended, in the order in which they were begun."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """The answers of the cache, by the ids of the steps."""
    moves: list[Move] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    image: ImageBuilt | None = None
    pushed: list[tuple[str, str]] = field(default_factory=list)
    """References with digests."""
    failure: Failed | None = None

    @property
    def steps(self) -> Iterator[Step]:
        """All steps, in the order in which they were begun."""
        return (step for stage in self.stages for step in stage.steps)

    @property
    def step(self) -> Step | None:
        """The step that was begun last in the stage that was begun last and has not ended."""
        steps = self.open_stages[-1].steps if self.open_stages else []
        return steps[-1] if steps else None

    @property
    def steps_begun(self) -> bool:
        """Whether a stage was begun or an image is there."""
        return bool(self.stages) or self.image is not None

    @property
    def failed_step(self) -> Step | None:
        """The step that the build failed in."""
        failed = next((step for step in self.steps if step.is_failed), None)
        if failed is not None:
            return failed
        step = self.step
        return step if self.failure is not None and step is not None and not step.is_done else None

    def step_of(self, step_id: str) -> Step | None:
        """The step of this id; of several, where a stage was begun anew, the last one."""
        return next((step for step in reversed(list(self.steps)) if step.id == step_id), None)

    def makers(self) -> dict[str, Step]:
        """The steps that made layers, by the layers' digests; of several the last in the file."""
        return {step.layer_digest: step for step in sorted(self.steps, key=lambda each: each.line)}

    def now_s(self, fallback_s: float = 0.0) -> float:
        """The time at which the build ended; `fallback_s` where it has not."""
        return self.ended_s if self.ended_s is not None else fallback_s
