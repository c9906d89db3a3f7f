"""Sums over a build's record."""

from collections.abc import Iterable
from dataclasses import dataclass

from knarr.report.record import DOWNLOAD, PHASES, UPLOAD, BuildRecord, Move, Span, Step


@dataclass(frozen=True, slots=True)
class Traffic:
    """Blobs with their compressed bytes."""

    blobs: int = 0
    size_bytes: int = 0

    @classmethod
    def of(cls, moves: Iterable[Move]) -> "Traffic":
        """The sum of some moves."""
        sizes = [move.transfer.size_bytes for move in moves]
        return cls(len(sizes), sum(sizes))


@dataclass(frozen=True, slots=True)
class Totals:
    """What a build did in all."""

    duration_s: float
    steps: int
    judged: int
    """The number of steps that were looked up in the cache."""
    hits: int
    layers: int
    image_bytes: int
    new_bytes: int
    """Bytes of the image's layers that the build made itself."""
    pulled: Traffic
    sent: Traffic
    spared: Traffic
    """Blobs that destinations had already, or took from another of their repositories."""
    phases: tuple[tuple[str, float], ...]
    """Each phase that took any time; downloads overlap the others, and so do uploads."""

    @classmethod
    def of(cls, record: BuildRecord, now_s: float) -> "Totals":
        """The sums so far."""
        steps = list(record.steps)
        layers = record.image.layers if record.image is not None else ()
        made = record.makers()
        return cls(
            duration_s=record.now_s(now_s),
            steps=len(steps),
            judged=sum(step.verdict is not None for step in steps),
            hits=sum(step.verdict is not None and step.verdict.is_hit for step in steps),
            layers=len(layers),
            image_bytes=sum(layer.size_bytes for layer in layers),
            new_bytes=sum(layer.size_bytes for layer in layers if layer.digest in made),
            pulled=Traffic.of(move for move in record.moves if move.how == "pulled"),
            sent=Traffic.of(move for move in record.moves if move.how == "pushed"),
            spared=Traffic.of(move for move in record.moves if move.how in ("mounted", "exists")),
            phases=_phases(record, record.now_s(now_s)),
        )


def cache_word(step: Step) -> str:
    """What the cache said of a step: cached, or not and why; empty where it was not asked."""
    if step.verdict is None:
        return ""
    if step.verdict.is_hit:
        return "cached"
    return f"not cached: {step.verdict.reason}" if step.verdict.reason else "not cached"


def _phases(record: BuildRecord, now_s: float) -> tuple[tuple[str, float], ...]:
    own = [phase for step in record.steps for phase in step.phases]
    times = {name: sum(span.duration_s(now_s) for span in own if span.name == name) for name in PHASES}
    times[DOWNLOAD] = _covered((move.span for move in record.moves if move.how == "pulled"), now_s)
    times[UPLOAD] = _covered((move.span for move in record.moves if move.how == "pushed"), now_s)
    return tuple((name, times[name]) for name in PHASES if times[name] >= 0.05)


def _covered(spans: Iterable[Span], now_s: float) -> float:
    """The seconds in which at least one of the spans lasted."""
    covered, reached = 0.0, 0.0
    for span in sorted(spans, key=lambda each: each.started_s):
        start, end = max(reached, span.started_s), span.started_s + span.duration_s(now_s)
        if end > start:
            covered += end - start
            reached = end
    return covered
