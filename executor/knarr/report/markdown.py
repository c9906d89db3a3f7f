"""The job summary of GitHub Actions: a build as Markdown.

Foreign text goes in as HTML entities, inside `<code>`, so that it is neither markup nor a link nor a mention.
"""

from collections.abc import Iterator, Sequence

from knarr.report.quantities import format_bytes, format_seconds
from knarr.report.record import BuildRecord, Step
from knarr.report.summary import headline, traffic_words
from knarr.report.text import one_line, visible
from knarr.report.totals import Totals, cache_word

_TEXT_LIMIT = 120
_MESSAGE_LIMIT = 4000
_MOST_ROWS = 200


def job_summary(record: BuildRecord, totals: Totals) -> str:
    """The section to append to the file that GITHUB_STEP_SUMMARY names; ends with an empty line."""
    parts = [
        _heading(record, totals),
        *_failure(record),
        *_checks(record),
        _facts(record, totals),
        *_steps(record, totals),
        *_layers(record),
    ]
    return "\n\n".join(parts) + "\n\n"


def _heading(record: BuildRecord, totals: Totals) -> str:
    mark = "❌" if record.failure is not None else "✅"
    return f"### {mark} knarr build {headline(record, totals)}"


def _failure(record: BuildRecord) -> Iterator[str]:
    failure = record.failure
    if failure is None:
        return
    hint = f"\nhint: {failure.hint}" if failure.hint else ""
    # On one line: an empty line would end the HTML block, and the rest would be read as Markdown.
    text = _entities(visible(failure.message + hint)[:_MESSAGE_LIMIT]).replace("\n", "<br>")
    yield f"<pre>{text}</pre>"
    if failure.output:
        output = _entities(visible(failure.output)[-_MESSAGE_LIMIT:]).replace("\n", "<br>")
        yield f"<p>the last lines of its output:</p><pre>{output}</pre>"


def _checks(record: BuildRecord) -> Iterator[str]:
    if record.checks:
        rows = [(str(each.line), _code(each.rule), _code(each.detail)) for each in record.checks]
        yield _table(("line", "check", "finding"), rows)


def _facts(record: BuildRecord, totals: Totals) -> str:
    rows = [("pushed", _code(f"{reference}@{digest}")) for reference, digest in record.pushed]
    if record.image is not None:
        rows.append(("digest", _code(record.image.digest)))
        rows.append(("platform", _code(record.image.platform)))
    rows += [("base", _code(f"{base.reference}@{base.digest}")) for base in record.bases]
    rows += [(name, format_seconds(took)) for name, took in totals.phases]
    moved = {"pulled": totals.pulled, "sent": totals.sent, "spared": totals.spared}
    rows += [(word, traffic_words(traffic)) for word, traffic in moved.items() if traffic.blobs]
    return _table(("", ""), rows)


def _steps(record: BuildRecord, totals: Totals) -> Iterator[str]:
    steps = list(record.steps)
    if not steps:
        return
    rows = [_step_row(step, record, totals.duration_s) for step in steps[:_MOST_ROWS]]
    left = f"\n\n{len(steps) - _MOST_ROWS} more steps" if len(steps) > _MOST_ROWS else ""
    table = _table(("line", "stage", "step", "time", "layer", "cache"), rows)
    yield f"<details><summary>{len(steps)} steps</summary>\n\n{table}{left}\n\n</details>"


def _step_row(step: Step, record: BuildRecord, now_s: float) -> Sequence[str]:
    failed = "❌ " if step is record.failed_step else ""
    return (
        str(step.line or ""),
        _code(step.stage),
        failed + _code(one_line(step.text, _TEXT_LIMIT)),
        format_seconds(step.span.duration_s(now_s)),
        format_bytes(step.layer_bytes) if step.layer_bytes is not None else "",
        _code(cache_word(step)),
    )


def _layers(record: BuildRecord) -> Iterator[str]:
    if record.image is None or not record.image.layers:
        return
    layers = record.image.layers
    made = record.makers()
    rows = []
    for layer in layers[:_MOST_ROWS]:
        step = made.get(layer.digest)
        of = _code(one_line(step.text, _TEXT_LIMIT)) if step is not None else "base image"
        rows.append((_code(layer.digest), format_bytes(layer.size_bytes), of))
    table = _table(("layer", "size", "made by"), rows)
    size = format_bytes(sum(layer.size_bytes for layer in layers))
    yield f"<details><summary>{len(layers)} layers, {size}</summary>\n\n{table}\n\n</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _code(text: str) -> str:
    return f"<code>{_entities(visible(text)[:1000])}</code>" if text else ""


def _entities(text: str) -> str:
    """Every character that Markdown, HTML or GitHub gives a meaning, as a number."""
    return "".join(c if c.isalnum() or c in " -/=,\n" else f"&#{ord(c)};" for c in text)
