"""Prints what a build reports, as plain lines on stderr."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from knarr.errors import UsageError
from knarr.progress import Event, Note, Pushed, StepEnded, StepStarted, Transferred

_LEVELS = {
    "trace": 0,
    "debug": 1,
    "info": 2,
    "warn": 3,
    "warning": 3,
    "error": 4,
    "fatal": 5,
    "panic": 5,
}
_UNITS = ("B", "kB", "MB", "GB")


def parse_verbosity(text: str) -> int:
    """The rank of a level; UsageError for a word that is none."""
    try:
        return _LEVELS[text.lower()]
    except KeyError as error:
        levels = ", ".join(_LEVELS)
        raise UsageError(f"not a log level: {text!r}", hint=f"the levels are {levels}") from error


def format_bytes(count: int) -> str:
    """A size for people: decimal units, three digits."""
    size, unit = float(count), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return (
        f"{count} B"
        if unit == 0
        else f"{size:.3g} {_UNITS[unit]}"
        if size < 100
        else f"{size:.0f} {_UNITS[unit]}"
    )


class PlainReporter:
    """One line an event, with the seconds since the start."""

    def __init__(
        self, stream: TextIO, *, verbosity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._clock = clock
        self._start = clock()
        self._lock = threading.Lock()

    def report(self, event: Event) -> None:
        """Print the event's line where its level is wanted."""
        level, text = _RENDER[type(event)](event)
        if _LEVELS[level] < self._verbosity:
            return
        line = f"[{self._clock() - self._start:6.1f}s] {text}\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


def _note(event: Note) -> tuple[str, str]:
    prefix = "warning: " if event.level == "warning" else ""
    return event.level, f"{prefix}{event.text}"


def _started(event: StepStarted) -> tuple[str, str]:
    return "info", f"{event.stage} {event.number}/{event.total} {_one_line(event.text)}"


def _ended(event: StepEnded) -> tuple[str, str]:
    layer = "" if event.layer_bytes is None else f", layer {format_bytes(event.layer_bytes)}"
    return "info", f"{event.stage} {event.number}/{event.total} done in {event.duration_s:.1f}s{layer}"


def _transferred(event: Transferred) -> tuple[str, str]:
    size = format_bytes(event.size_bytes)
    level = "info" if event.how in ("pulled", "pushed") else "debug"
    return level, f"{event.how} {event.digest[:19]} {size}"


def _pushed(event: Pushed) -> tuple[str, str]:
    return "info", f"Pushed {event.reference}@{event.digest}"


_RENDER: Mapping[type, Callable[[Any], tuple[str, str]]] = {
    Note: _note,
    StepStarted: _started,
    StepEnded: _ended,
    Transferred: _transferred,
    Pushed: _pushed,
}


def _one_line(text: str) -> str:
    first, newline, _ = text.partition("\n")
    shown = first if len(first) <= 160 else f"{first[:157]}..."
    return f"{shown} ..." if newline else shown
