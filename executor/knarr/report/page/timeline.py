"""The page's timeline: steps with their phases, downloads and uploads, all over the same seconds."""

from collections.abc import Iterator, Sequence

from knarr.report.page.markup import Markup, element, join
from knarr.report.quantities import format_bytes, format_rate, format_seconds, plural
from knarr.report.record import DOWNLOAD, PHASES, UPLOAD, BuildRecord, Move, Span, Stage, Step
from knarr.report.text import one_line, short_hex
from knarr.report.totals import Totals

_TICK_STEPS = (1, 2, 5)
_MOST_TICKS = 6
_TITLE_LIMIT = 200
_SMALL_BYTES = 100_000
_MOST_SMALL = 5
_PHASE_OF = {"pull": DOWNLOAD, "push": UPLOAD}


def timeline(record: BuildRecord, totals: Totals) -> Markup:
    """The card with the timeline; nothing where no step was begun."""
    if not record.steps_begun:
        return Markup()
    whole_s = max(totals.duration_s, 0.001)
    lanes = [_stage(stage, record, whole_s) for stage in record.stages]
    lanes += [_moves(record, "pull", "Downloads", whole_s), _moves(record, "push", "Uploads", whole_s)]
    return element(
        "section", element("h2", "Timeline"), _legend(totals), _axis(whole_s), *lanes, class_="card"
    )


def _legend(totals: Totals) -> Markup:
    items = [
        element("li", element("i", class_=name), f"{name} {format_seconds(took)}")
        for name, took in totals.phases
    ]
    return element("ul", *items, class_="legend")


def _axis(whole_s: float) -> Markup:
    marks = [
        element("span", format_seconds(at), style=f"left:{_percent(at, whole_s)}")
        for at in (*_ticks(whole_s), whole_s)
    ]
    return element("div", element("div", *marks), class_="axis")


def _ticks(whole_s: float) -> Iterator[float]:
    """Round times, far enough from the end for its own mark."""
    step = next(
        base * 10.0**power
        for power in range(-3, 6)
        for base in _TICK_STEPS
        if whole_s / (base * 10.0**power) <= _MOST_TICKS
    )
    at = 0.0
    while at < whole_s - step * 0.6:
        yield at
        at += step


def _stage(stage: Stage, record: BuildRecord, whole_s: float) -> Markup:
    name = element("span", stage.name)
    base = element("span", f" from {one_line(stage.base)}", class_="soft") if stage.base else Markup()
    rows = [_step(step, record, whole_s) for step in stage.steps]
    return join(element("div", name, base, class_="lane"), *rows)


def _step(step: Step, record: BuildRecord, whole_s: float) -> Markup:
    is_failed = step is record.failed_step
    bars = [_bar(step.span, "cut" if is_failed else "whole", whole_s)]
    bars += [_bar(phase, phase.name, whole_s) for phase in step.phases]
    title = element(
        "a",
        f"{step.number}/{step.total} ",
        element("code", one_line(step.text)),
        href=f"#L{step.line}" if step.line else None,
        title=one_line(step.text, _TITLE_LIMIT),
    )
    took = format_seconds(step.span.duration_s(whole_s))
    return _row(join(_mark(step, is_failed=is_failed), title), bars, took)


def _mark(step: Step, *, is_failed: bool) -> Markup:
    if is_failed:
        return join(element("span", "failed", class_="pill bad"), " ")
    if step.verdict is not None and step.verdict.is_hit:
        return join(element("span", "cached", class_="pill good"), " ")
    return Markup()


def _moves(record: BuildRecord, direction: str, heading: str, whole_s: float) -> Markup:
    moves = [move for move in record.moves if move.transfer.direction == direction]
    moved = [move for move in moves if move.how in ("pulled", "pushed", "")]
    spared = [move for move in moves if move not in moved]
    if not moves:
        return Markup()
    size = format_bytes(sum(move.transfer.size_bytes for move in moved))
    rest = f", {format_bytes(sum(move.transfer.size_bytes for move in spared))} spared" if spared else ""
    title = join(heading, element("span", f" {size}{rest}", class_="soft"))
    told = [move for move in moved if _is_told(move, len(moved))]
    untold = plural(len(moved) - len(told), "small blob")
    rest_line = element("div", f"and {untold}", class_="rest") if len(told) < len(moved) else Markup()
    return join(element("div", title, class_="lane"), *(_move(move, whole_s) for move in told), rest_line)


def _is_told(move: Move, count: int) -> bool:
    """Whether a blob gets a row: not a small one among many."""
    return count <= _MOST_SMALL or move.transfer.size_bytes >= _SMALL_BYTES or not move.how


def _move(move: Move, whole_s: float) -> Markup:
    transfer, took_s = move.transfer, move.span.duration_s(whole_s)
    size = format_bytes(transfer.size_bytes)
    rate = format_rate(move.done_bytes, took_s)
    label = element("code", short_hex(transfer.digest), title=f"{transfer.digest}, {transfer.repository}")
    facts = " · ".join(each for each in (size, rate) if each)
    bar = _bar(move.span, _PHASE_OF[transfer.direction] if move.how else "cut", whole_s)
    return _row(join(label, element("span", f" {facts}", class_="soft")), [bar], format_seconds(took_s))


def _row(label: Markup, bars: Sequence[Markup], took: str) -> Markup:
    track = element("div", *bars, class_="track")
    return element("div", element("div", label), track, element("div", took, class_="time"), class_="row")


def _bar(span: Span, kind: str, whole_s: float) -> Markup:
    took_s = span.duration_s(whole_s)
    what = kind if kind in PHASES else span.name
    said = f"{what} {format_seconds(took_s)}, from {format_seconds(span.started_s)}"
    style = f"left:{_percent(span.started_s, whole_s)};width:{_percent(took_s, whole_s)}"
    return element("i", class_=kind, style=style, title=said)


def _percent(part_s: float, whole_s: float) -> str:
    return f"{min(100.0, max(0.0, 100 * part_s / whole_s)):.2f}%"
