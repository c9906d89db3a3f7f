"""The page's Dockerfile: each line with its step's time, what the checks found, what failed."""

from collections import defaultdict
from collections.abc import Iterator

from knarr.progress import CheckFound
from knarr.report.page.markup import Markup, element, join
from knarr.report.quantities import format_bytes, format_seconds
from knarr.report.record import BuildRecord, Step
from knarr.report.totals import cache_word

_MOST_LINES = 5000
_SHOWN_S = 0.05


def source_card(record: BuildRecord, duration_s: float) -> Markup:
    """The card with the Dockerfile."""
    if not record.source_text:
        return Markup()
    listing = _Listing(record, duration_s)
    lines = record.source_text.rstrip("\n").split("\n")
    shown = [
        listing.line(number, text.rstrip("\r")) for number, text in enumerate(lines[:_MOST_LINES], start=1)
    ]
    if len(lines) > _MOST_LINES:
        shown.append(element("span", f"{len(lines) - _MOST_LINES} more lines", class_="note plain"))
    title = element("h2", "Dockerfile ", element("code", record.source_path, class_="soft"))
    return element("section", title, element("div", *shown, class_="source"), class_="card")


class _Listing:
    """What there is to say at each line."""

    def __init__(self, record: BuildRecord, duration_s: float) -> None:
        self._record = record
        self._duration_s = duration_s
        self._steps: dict[int, list[Step]] = defaultdict(list)
        self._ends: dict[int, list[Step]] = defaultdict(list)
        self._heat: dict[int, float] = defaultdict(float)
        self._checks: dict[int, list[CheckFound]] = defaultdict(list)
        for step in record.steps:
            self._steps[step.line].append(step)
            end = max(step.line, step.end_line)
            self._ends[end].append(step)
            for line in range(step.line, min(end, step.line + _MOST_LINES) + 1):
                self._heat[line] += step.span.duration_s(duration_s)
        for check in record.checks:
            self._checks[max(check.line, check.end_line)].append(check)
        self._slowest_s = max(self._heat.values(), default=0.0)
        self._failed_lines = self._where_it_failed()

    def line(self, number: int, text: str) -> Markup:
        took_s = sum(step.span.duration_s(self._duration_s) for step in self._steps[number])
        share = self._heat[number] / self._slowest_s if self._slowest_s else 0.0
        is_failed, is_hot = number in self._failed_lines, self._heat[number] >= _SHOWN_S
        row = element(
            "div",
            element("span", str(number), class_="at", id=f"L{number}"),
            element("span", format_seconds(took_s) if took_s >= _SHOWN_S else "", class_="took"),
            element("pre", text or " ", class_="comment" if text.lstrip().startswith("#") else None),
            *self._facts(number),
            class_="failed" if is_failed else "hot" if is_hot else None,
            style=f"--share:{max(0.15, share):.2f}" if is_hot and not is_failed else None,
        )
        return join(row, *self._notes(number))

    def _notes(self, number: int) -> list[Markup]:
        notes = [_check(check) for check in self._checks[number]]
        failure = self._record.failure
        if failure is not None and self._failed_lines and number == max(self._failed_lines):
            notes.append(element("span", failure.message, class_="note error"))
        return notes

    def _facts(self, number: int) -> list[Markup]:
        """What steps made that stand in lines up to this one; nothing where none ends here."""
        told = [fact for step in self._ends[number] for fact in _facts(step)]
        return [element("span", *told, class_="facts")] if told else []

    def _where_it_failed(self) -> set[int]:
        failure, step = self._record.failure, self._record.failed_step
        if failure is None:
            return set()
        if step is not None and step.line:
            return set(range(step.line, max(step.line, step.end_line) + 1))
        return {failure.line} if failure.line else set()


def _facts(step: Step) -> Iterator[Markup]:
    if step.layer_bytes is not None:
        yield element("span", format_bytes(step.layer_bytes), class_="size", title="size of the layer")
    if step.verdict is not None:
        kind = "good" if step.verdict.is_hit else "no"
        yield element(
            "span",
            "cached" if step.verdict.is_hit else "not cached",
            class_=f"pill {kind}",
            title=cache_word(step),
        )


def _check(check: CheckFound) -> Markup:
    rule = element("a", check.rule, href=check.url, rel="noreferrer") if check.url else check.rule
    return element("span", rule, f": {check.detail}", class_="note warn")
