"""What a build did, in a few lines at its end."""

from collections.abc import Iterator
from typing import Any

from knarr.report.quantities import format_bytes, format_seconds, plural
from knarr.report.record import BuildRecord, Step
from knarr.report.text import one_line
from knarr.report.totals import Totals, Traffic, cache_word

_TITLE_WIDTH = 48
_SHORT_S = 0.05


def summary_lines(record: BuildRecord, totals: Totals) -> list[str]:
    """A line for each step that took time, made a layer or was looked up, then the sums."""
    told = [step for step in record.steps if _is_told(step)]
    lines = [_step(step, totals.duration_s) for step in told]
    untold = totals.steps - len(told)
    if untold:
        lines.append(f"{plural(untold, 'more step')} in no time, without a layer")
    return [*(line.rstrip() for line in lines), *_sums(record, totals)]


def summary_fields(record: BuildRecord, totals: Totals) -> dict[str, Any]:
    """The summary as values, for programs that read JSON lines."""
    steps = [
        {
            "step": step.id,
            "stage": step.stage,
            "number": step.number,
            "line": step.line,
            "duration_s": round(step.span.duration_s(totals.duration_s), 3),
            "layer_bytes": step.layer_bytes,
            "layer_digest": step.layer_digest,
            "cached": step.verdict.is_hit if step.verdict is not None else None,
        }
        for step in record.steps
    ]
    return {
        "event": "summary",
        "duration_s": round(totals.duration_s, 3),
        "phases_s": {name: round(seconds, 3) for name, seconds in totals.phases},
        "image_bytes": totals.image_bytes,
        "pulled_bytes": totals.pulled.size_bytes,
        "sent_bytes": totals.sent.size_bytes,
        "spared_bytes": totals.spared.size_bytes,
        "steps": steps,
    }


def headline(record: BuildRecord, totals: Totals) -> str:
    """How it went, in one line."""
    took = format_seconds(totals.duration_s)
    if record.failure is not None:
        return f"failed after {took}"
    counted = f", {totals.hits} of {totals.judged} cached" if totals.judged else ""
    return f"done in {took}: {plural(totals.steps, 'step')}{counted}"


def traffic_words(traffic: Traffic) -> str:
    """A size with the count of blobs."""
    return f"{format_bytes(traffic.size_bytes)} in {plural(traffic.blobs, 'blob')}"


def _is_told(step: Step) -> bool:
    took = step.span.duration_s(step.span.started_s)
    return step.layer_bytes is not None or step.verdict is not None or took >= _SHORT_S


def _step(step: Step, now_s: float) -> str:
    title = one_line(f"{step.stage} {step.number}/{step.total} {one_line(step.text)}", _TITLE_WIDTH)
    took = format_seconds(step.span.duration_s(now_s))
    layer = format_bytes(step.layer_bytes) if step.layer_bytes is not None else ""
    return f"{title:{_TITLE_WIDTH}} {took:>7} {layer:>8}  {cache_word(step)}"


def _sums(record: BuildRecord, totals: Totals) -> Iterator[str]:
    if totals.phases:
        yield "time: " + ", ".join(f"{name} {format_seconds(took)}" for name, took in totals.phases)
    if record.image is not None:
        new, base = format_bytes(totals.new_bytes), format_bytes(totals.image_bytes - totals.new_bytes)
        yield f"image: {plural(totals.layers, 'layer')}, {new} new, {base} of the base"
    moved = {"pulled": totals.pulled, "sent": totals.sent, "spared": totals.spared}
    told = [f"{word} {traffic_words(traffic)}" for word, traffic in moved.items() if traffic.blobs]
    if told:
        yield ", ".join(told)
