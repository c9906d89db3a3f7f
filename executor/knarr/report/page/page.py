"""A page about one build, in one file that asks for nothing else: no script, no network."""

from datetime import UTC, datetime

from knarr.report.page.markup import Markup, element
from knarr.report.page.source import source_card
from knarr.report.page.style import STYLE
from knarr.report.page.tables import layers_card, moves_card, steps_card
from knarr.report.page.timeline import timeline
from knarr.report.quantities import format_bytes, format_seconds, plural
from knarr.report.record import BuildRecord
from knarr.report.text import visible
from knarr.report.totals import Totals
from knarr.version import __version__

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render_page(record: BuildRecord) -> str:
    """The page of a build that has ended."""
    totals = Totals.of(record, record.now_s())
    body = element(
        "main",
        _header(record),
        _failure(record),
        _tiles(record, totals),
        _columns(record, totals),
        steps_card(record, totals),
        _warnings(record),
        moves_card(record),
        element("footer", f"knarr {__version__}"),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{'failed: ' if record.failure else ''}{_name(record)}"),
        element("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body), lang='en')}\n"


def _name(record: BuildRecord) -> str:
    if record.pushed:
        return record.pushed[0][0]
    return record.image.digest[:19] if record.image is not None else "knarr build"


def _header(record: BuildRecord) -> Markup:
    is_failed = record.failure is not None
    badge = element(
        "span", "failed" if is_failed else "built", class_=f"badge {'bad' if is_failed else 'good'}"
    )
    began = datetime.fromtimestamp(record.began_at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    facts = [began, record.image.platform if record.image is not None else ""]
    lines = [element("p", " · ".join(fact for fact in facts if fact))]
    if record.image is not None:
        lines.append(element("p", element("code", record.image.digest)))
    lines += [element("p", "pushed ", element("code", reference)) for reference, _ in record.pushed]
    for base in record.bases:
        size = f" ({plural(base.layers, 'layer')}, {format_bytes(base.size_bytes)})"
        lines.append(element("p", "base ", element("code", f"{base.reference}@{base.digest}"), size))
    return element("header", element("h1", badge, _name(record)), *lines)


def _failure(record: BuildRecord) -> Markup:
    failure = record.failure
    if failure is None:
        return Markup()
    step = record.failed_step
    line = failure.line or (step.line if step is not None else 0)
    parts = [element("h2", "Why it failed"), element("pre", failure.message)]
    if failure.hint:
        parts.append(element("p", "hint: ", failure.hint))
    if failure.output:
        parts.append(element("p", "the last lines of its output:"))
        parts.append(element("pre", visible(failure.output)))
    if line:
        parts.append(element("p", element("a", f"line {line} of the Dockerfile", href=f"#L{line}")))
    parts.append(element("p", f"exit status {failure.exit_status}", class_="soft"))
    return element("section", *parts, class_="card failure")


def _tiles(record: BuildRecord, totals: Totals) -> Markup:
    tiles = [(format_seconds(totals.duration_s), "from start to end")]
    counted = f"{totals.hits} of {totals.judged} cached" if totals.judged else "none looked up in a cache"
    tiles.append((str(totals.steps), f"{'step' if totals.steps == 1 else 'steps'}, {counted}"))
    if record.image is not None:
        new = f"{plural(totals.layers, 'layer')}, {format_bytes(totals.new_bytes)} new"
        tiles.append((format_bytes(totals.image_bytes), new))
    for traffic, word in (
        (totals.pulled, "pulled"),
        (totals.sent, "sent"),
        (totals.spared, "not sent, was there"),
    ):
        if traffic.blobs:
            tiles.append((format_bytes(traffic.size_bytes), f"{word}, {plural(traffic.blobs, 'blob')}"))
    if record.checks:
        tiles.append((str(len(record.checks)), "findings of build checks"))
    boxes = [
        element("div", element("b", value), element("span", label), class_="tile") for value, label in tiles
    ]
    return element("div", *boxes, class_="tiles")


def _columns(record: BuildRecord, totals: Totals) -> Markup:
    """The Dockerfile beside what was made of it, or below it where there is no room."""
    made = element("div", timeline(record, totals), layers_card(record, totals))
    return element("div", made, element("div", source_card(record, totals.duration_s)), class_="columns")


def _warnings(record: BuildRecord) -> Markup:
    if not record.warnings:
        return Markup()
    items = [element("li", text) for text in record.warnings]
    return element("section", element("h2", "Warnings"), element("ul", *items, class_="plain"), class_="card")
