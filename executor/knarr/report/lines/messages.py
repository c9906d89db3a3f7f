"""An event as a message: its level, and words that people and kaniko's pipelines look for."""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.oci.reference import Reference
from knarr.progress import (
    BaseResolved,
    BaseSought,
    BuildPlanned,
    CacheJudged,
    CheckFound,
    Event,
    Failed,
    ImageBuilt,
    Note,
    Phase,
    Pushed,
    Pushing,
    SourceRead,
    StageStarted,
    StepEnded,
    StepFailed,
    StepStarted,
    Transferred,
    TransferStarted,
)
from knarr.report.quantities import format_bytes, format_rate, format_seconds, plural
from knarr.report.record import BuildRecord
from knarr.report.text import one_line, short_digest, visible
from knarr.report.totals import cache_word

Message = tuple[str, str]
"""Level and text."""


def message(event: Event, record: BuildRecord) -> Message | None:
    """What is said of an event, which the record has already; None for those that nothing is said of.

    The text may have several lines.
    """
    describe = _MESSAGES.get(type(event))
    return describe(event, record) if describe is not None else None


def step_title(event: StepStarted) -> str:
    """The line that a step begins with."""
    return f"{event.stage} {event.number}/{event.total} {one_line(event.text)}"


def _note(event: Note, _: BuildRecord) -> Message:
    return event.level, visible(event.text)


def _source(event: SourceRead, _: BuildRecord) -> Message:
    return "debug", f"Dockerfile {visible(event.path)}"


def _check(event: CheckFound, _: BuildRecord) -> Message:
    return "warning", visible(f"{event.rule}: {event.detail} (line {event.line})")


def _sought(event: BaseSought, _: BuildRecord) -> Message:
    return "info", f"Retrieving image manifest {visible(event.reference)}"


def _resolved(event: BaseResolved, _: BuildRecord) -> Message:
    size = f"{plural(event.layers, 'layer')}, {format_bytes(event.size_bytes)}"
    return "info", f"{visible(event.reference)} is {event.digest} ({size})"


def _planned(event: BuildPlanned, _: BuildRecord) -> Message:
    return "debug", f"the target needs {plural(event.stages, 'stage')}, {plural(event.steps, 'step')}"


def _stage(event: StageStarted, _: BuildRecord) -> Message:
    return "debug", f"stage {event.name} from {visible(event.base)}"


def _step(event: StepStarted, _: BuildRecord) -> Message:
    return "info", step_title(event)


def _judged(event: CacheJudged, _: BuildRecord) -> Message:
    command = one_line(event.text)
    if event.is_hit:
        return "info", f"Using caching version of cmd: {command}"
    why = f" ({visible(event.reason)})" if event.reason else ""
    return "info", f"No cached layer found for cmd {command}{why}"


def _phase(event: Phase, record: BuildRecord) -> Message:
    step = record.step_of(event.step) if event.step else record.step
    if event.name == "extract" and event.detail == "base" and step is not None:
        return "info", f"Unpacking rootfs as cmd {one_line(step.text)} requires it."
    if event.name == "snapshot" and event.detail == "full":
        return "info", "Taking snapshot of full filesystem..."
    return "debug", f"phase {event.name}"


def _step_ended(event: StepEnded, record: BuildRecord) -> Message:
    step = record.step_of(event.step)
    facts = [f"{event.stage} {event.number}/{event.total} done in {format_seconds(event.duration_s)}"]
    if event.layer_bytes is not None:
        facts.append(f"layer {format_bytes(event.layer_bytes)}")
    if step is not None and step.verdict is not None and step.verdict.is_hit:
        facts.append(cache_word(step))
    return "info", ", ".join(facts)


def _step_failed(event: StepFailed, _: BuildRecord) -> Message:
    return "info", f"{event.stage} {event.number}/{event.total} failed in {format_seconds(event.duration_s)}"


def _transfer(event: TransferStarted, _: BuildRecord) -> Message:
    transfer = event.transfer
    ends = "from" if transfer.direction == "pull" else "to"
    size = format_bytes(transfer.size_bytes)
    return "debug", f"{transfer.direction} {transfer.digest} {size} {ends} {visible(transfer.repository)}"


def _transferred(event: Transferred, _: BuildRecord) -> Message:
    text = f"{event.how} {short_digest(event.digest)} {format_bytes(event.size_bytes)}"
    if event.how not in ("pulled", "pushed"):
        return "debug", text
    rate = format_rate(event.size_bytes, event.duration_s)
    return "info", f"{text} in {format_seconds(event.duration_s)}" + (f", {rate}" if rate else "")


def _image(event: ImageBuilt, _: BuildRecord) -> Message:
    size = format_bytes(sum(layer.size_bytes for layer in event.layers))
    return "info", f"built {event.digest} ({plural(len(event.layers), 'layer')}, {size})"


def _pushing(event: Pushing, _: BuildRecord) -> Message:
    return "info", f"Pushing image to {visible(event.reference)}"


def _pushed(event: Pushed, _: BuildRecord) -> Message:
    # Without the tag: pipelines cut the name with its digest out of this line of kaniko's.
    return "info", f"Pushed {Reference.parse(event.reference).name}@{event.digest}"


def _failed(event: Failed, _: BuildRecord) -> Message:
    hint = f"\nhint: {event.hint}" if event.hint else ""
    return "error", visible(f"{event.message}{hint}")


_MESSAGES: Mapping[type, Callable[[Any, BuildRecord], Message]] = {
    Note: _note,
    SourceRead: _source,
    CheckFound: _check,
    BaseSought: _sought,
    BaseResolved: _resolved,
    BuildPlanned: _planned,
    StageStarted: _stage,
    StepStarted: _step,
    CacheJudged: _judged,
    Phase: _phase,
    StepEnded: _step_ended,
    StepFailed: _step_failed,
    TransferStarted: _transfer,
    Transferred: _transferred,
    ImageBuilt: _image,
    Pushing: _pushing,
    Pushed: _pushed,
    Failed: _failed,
}
