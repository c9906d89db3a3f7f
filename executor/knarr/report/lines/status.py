"""The lines that tell on a terminal what goes on right now."""

from knarr.report.quantities import format_bytes, format_rate, format_seconds, plural
from knarr.report.record import BuildRecord, Move
from knarr.report.text import one_line, short_hex

_MOST_MOVES = 4
_BAR = 20
_WORDS = {"pull": "pulling", "push": "pushing"}


def status_lines(record: BuildRecord, now_s: float, width: int) -> list[str]:
    """A line for the step, one for each of the oldest transfers, one for all transfers; none is too long."""
    moving = [move for move in record.moves if not move.how]
    lines = [_step(record, now_s, width), *(_move(move, now_s, width) for move in moving[:_MOST_MOVES])]
    if len(moving) > 1:
        lines.append(_all(moving, now_s))
    return [line[: width - 1] for line in lines if line]


def _step(record: BuildRecord, now_s: float, width: int) -> str:
    step = record.step
    done = sum(each.is_done for each in record.steps)
    count = f"[{done}/{max(record.planned_steps, done)}] " if record.planned_steps else ""
    if step is None or step.is_done:
        return ""
    phase = step.phase
    doing = f"{phase.name} " if phase is not None else ""
    tail = f"  {doing}{format_seconds(now_s - step.span.started_s)}"
    room = max(10, width - 1 - len(tail) - len(count))
    title = f"{step.stage} {step.number}/{step.total} {one_line(step.text)}"
    if len(title) > room:
        title = f"{title[: room - 3]}..."
    return f"{count}{title}{tail}"


def _move(move: Move, now_s: float, width: int) -> str:
    size, done = move.transfer.size_bytes, move.done_bytes
    share = min(1.0, done / size) if size else 1.0
    filled = round(share * _BAR)
    bar = f"[{'#' * filled}{'-' * (_BAR - filled)}] " if width >= 72 else ""
    head = f"  {_WORDS[move.transfer.direction]} {short_hex(move.transfer.digest)} "
    rate = format_rate(done, move.span.duration_s(now_s))
    return f"{head}{bar}{share:4.0%} of {format_bytes(size)}  {rate}"


def _all(moving: list[Move], now_s: float) -> str:
    size = sum(move.transfer.size_bytes for move in moving)
    done = sum(move.done_bytes for move in moving)
    rate = sum(move.done_bytes / max(0.01, move.span.duration_s(now_s)) for move in moving)
    left = f", {format_seconds((size - done) / rate)} left" if rate > 0 else ""
    count = plural(len(moving), "transfer")
    return f"  {count}: {format_bytes(done)} of {format_bytes(size)}, {format_bytes(rate)}/s{left}"
