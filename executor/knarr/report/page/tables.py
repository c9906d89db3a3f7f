"""The page's tables: steps, layers, blobs that were moved or spared."""

from collections.abc import Sequence

from knarr.report.page.markup import Markup, element, join
from knarr.report.quantities import format_bytes, format_seconds, plural
from knarr.report.record import BuildRecord, Step
from knarr.report.text import one_line, short_hex
from knarr.report.totals import Totals

_TEXT_LIMIT = 100


def layers_card(record: BuildRecord, totals: Totals) -> Markup:
    """The image's layers, the largest first."""
    if record.image is None or not record.image.layers:
        return Markup()
    made = record.makers()
    largest = max(layer.size_bytes for layer in record.image.layers) or 1
    rows = []
    for number, layer in sorted(
        enumerate(record.image.layers, start=1), key=lambda pair: pair[1].size_bytes, reverse=True
    ):
        step = made.get(layer.digest)
        kind = "ours" if step is not None else "base"
        of = _step_link(step) if step is not None else element("span", "base image", class_="soft")
        share = element("i", class_=kind, style=f"left:0;width:{100 * layer.size_bytes / largest:.1f}%")
        rows.append(
            (
                _number(str(number)),
                _number(format_bytes(layer.size_bytes)),
                element("td", element("div", share, class_="track"), class_="bar"),
                element("td", of),
                element("td", _digest(layer.digest)),
            )
        )
    head = f"Layers by size: {plural(totals.layers, 'layer')}, {format_bytes(totals.image_bytes)}"
    legend = _legend(totals)
    table = _table(("", "size", None, "made by", "digest"), rows)
    return element("section", element("h2", head), legend, table, class_="card")


def steps_card(record: BuildRecord, totals: Totals) -> Markup:
    """Every step: how long, what phases, what the cache said, what layer."""
    rows = [_step_row(step, record, totals) for step in record.steps]
    if not rows:
        return Markup()
    head = f"Steps: {totals.steps}"
    if totals.judged:
        head += f", {totals.hits} of {totals.judged} cached"
    table = _table(("step", "time", "phases", "cache", "layer"), rows, is_roomy=True)
    return element("section", element("h2", head), table, class_="card")


def moves_card(record: BuildRecord) -> Markup:
    """Blobs, moved and spared, folded away."""
    if not record.moves:
        return Markup()
    rows = [
        (
            element("td", move.how or f"{move.transfer.direction}, unfinished"),
            _number(format_bytes(move.transfer.size_bytes)),
            _number(format_seconds(move.span.duration_s(record.now_s()))),
            element("td", element("code", move.transfer.repository)),
            element("td", _digest(move.transfer.digest)),
        )
        for move in record.moves
    ]
    table = _table(("blob", "size", "time", "repository", "digest"), rows, is_roomy=True)
    summary = element("summary", f"Blobs: {len(rows)}")
    return element("section", element("details", summary, table), class_="card")


def _step_row(step: Step, record: BuildRecord, totals: Totals) -> Sequence[Markup]:
    now_s = totals.duration_s
    phases = ", ".join(
        f"{phase.name} {format_seconds(phase.duration_s(now_s))}"
        for phase in step.phases
        if phase.duration_s(now_s) >= 0.05
    )
    size = format_bytes(step.layer_bytes) if step.layer_bytes is not None else ""
    stage = element("span", f"{step.stage} {step.number}/{step.total} ", class_="soft")
    failed = join(element("span", "failed", class_="pill bad"), " ") if step is record.failed_step else ""
    return (
        element("td", failed, stage, _step_link(step)),
        _number(format_seconds(step.span.duration_s(now_s))),
        element("td", phases),
        element("td", _cache(step)),
        _number(size),
    )


def _step_link(step: Step) -> Markup:
    text = element("code", one_line(step.text, _TEXT_LIMIT))
    return element("a", text, href=f"#L{step.line}") if step.line else text


def _cache(step: Step) -> Markup:
    if step.verdict is None:
        return element("span", "not asked", class_="soft")
    if step.verdict.is_hit:
        return element("span", "cached", class_="pill good")
    return join(element("span", "not cached", class_="pill no"), f" {step.verdict.reason}")


def _legend(totals: Totals) -> Markup:
    base = totals.image_bytes - totals.new_bytes
    items = [
        element("li", element("i", class_="ours"), f"of this build {format_bytes(totals.new_bytes)}"),
        element("li", element("i", class_="base"), f"of the base {format_bytes(base)}"),
    ]
    return element("ul", *items, class_="legend")


def _table(head: Sequence[str | None], rows: Sequence[Sequence[Markup]], *, is_roomy: bool = False) -> Markup:
    """`head` has None over a column of bars; a roomy table is scrolled where there is no room for it."""
    numbers = {"size", "time", "layer", ""}
    cells = [
        element("th", name or "", class_="bar" if name is None else "number" if name in numbers else None)
        for name in head
    ]
    body = [element("tr", *row) for row in rows]
    parts = element("thead", element("tr", *cells)), element("tbody", *body)
    table = element("table", *parts, class_="roomy" if is_roomy else None)
    return element("div", table, class_="wide")


def _digest(digest: str) -> Markup:
    return element("code", short_hex(digest), class_="digest", title=digest)


def _number(text: str) -> Markup:
    return element("td", text, class_="number")
