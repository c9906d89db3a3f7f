"""Prints what a build reports."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from knarr.progress import (
    Event,
    Failed,
    Note,
    Phase,
    SourceRead,
    StageEnded,
    StepEnded,
    StepFailed,
    StepStarted,
    TransferProgress,
)
from knarr.report.lines.folds import Folds, NoFolds
from knarr.report.lines.formats import LineFormat, Moment
from knarr.report.lines.levels import RANKS
from knarr.report.lines.messages import message, step_title
from knarr.report.lines.outlets import Outlet
from knarr.report.record import BuildRecord
from knarr.report.text import visible

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_UNTOLD = frozenset({"text", "message", "hint", "output"})
"""The message has these values already, or the log has."""

Notes = Callable[[Event, BuildRecord], str]
"""An event as a note for a CI system, which then stands instead of its message; empty for none."""


class Printer:
    """Messages to an outlet, in a format, folded; for one thread at a time.

    While a RUN step's process writes to the outlet itself, messages wait: they must not get into its lines.
    """

    def __init__(
        self,
        outlet: Outlet,
        line_format: LineFormat,
        *,
        rank: int,
        folds: Folds | None = None,
        notes: Notes = lambda _event, _record: "",
        ends_lines: bool = False,
        clean: Callable[[str], str] = str,
    ) -> None:
        """`rank` is the lowest that is printed. `ends_lines` gives a process's output a newline at its end,
        which it may have already. `clean` is put over every message.
        """
        self._outlet = outlet
        self._format = line_format
        self._rank = rank
        self._folds = folds or NoFolds()
        self._has_folds = folds is not None
        self._notes = notes
        self._ends_lines = ends_lines
        self._clean = clean
        self._held: list[str] = []
        self._is_lent = False
        self._fold = ""
        self._unopened: tuple[str, str] | None = None
        """Name and title of a fold that nothing was printed in so far."""

    def show(self, event: Event, record: BuildRecord, moment: Moment) -> None:
        """Print the message about an event; the record has taken the event already."""
        if isinstance(event, TransferProgress):
            return
        if isinstance(event, Phase | StepEnded | StepFailed | Failed):
            self._take_back()
        if isinstance(event, StepStarted) and self._has_folds and self._rank <= RANKS["info"]:
            self._close_fold(moment)
            self._unopened = (_fold_name(event.step), step_title(event))
            return
        if isinstance(event, StageEnded) and self._has_folds:
            self._resume_fold(record)
        if isinstance(event, StepEnded | StepFailed | Failed):
            self._end_fold(moment)
        self._message(event, record, moment)
        if isinstance(event, Phase) and event.name == "run":
            self._lend(moment)

    def say(self, level: str, text: str, moment: Moment, fields: Mapping[str, Any] | None = None) -> None:
        """Print a message that is about no event."""
        if RANKS[level] >= self._rank:
            self._write(self._clean(self._format.render(moment, level, text, fields or {})), moment)

    def close(self, moment: Moment) -> None:
        """Finish after the last event; `say` may still be called."""
        self._take_back()
        self._end_fold(moment)
        self._outlet.close()

    def _message(self, event: Event, record: BuildRecord, moment: Moment) -> None:
        said = message(event, record)
        if said is None or RANKS[said[0]] < self._rank:
            return
        note = self._notes(event, record)
        if note:
            self._write(f"{note}\n", moment)
        else:
            self.say(*said, moment, _fields(event))

    def _write(self, text: str, moment: Moment) -> None:
        if self._is_lent:
            self._held.append(text)
            return
        self._begin_fold(moment)
        self._outlet.write(text)

    def _lend(self, moment: Moment) -> None:
        self._begin_fold(moment)
        before = self._folds.before_run()
        if before:
            self._outlet.write(before)
        self._outlet.lend()
        self._is_lent = True

    def _take_back(self) -> None:
        if not self._is_lent:
            return
        self._is_lent = False
        self._outlet.take_back()
        after = self._folds.after_run() or ("\n" if self._ends_lines else "")
        text = "".join([after, *self._held])
        self._held.clear()
        if text:
            self._outlet.write(text)

    def _begin_fold(self, moment: Moment) -> None:
        if self._unopened is not None:
            self._fold, title = self._unopened
            self._unopened = None
            self._outlet.write(self._folds.begin(self._fold, self._clean(title), moment.wall_s))

    def _end_fold(self, moment: Moment) -> None:
        if self._unopened is not None:  # nothing was printed: a line will do
            title = self._unopened[1]
            self._unopened = None
            self.say("info", title, moment)
        self._close_fold(moment)

    def _close_fold(self, moment: Moment) -> None:
        if self._fold:
            self._outlet.write(self._folds.end(self._fold, moment.wall_s))
            self._fold = ""

    def _resume_fold(self, record: BuildRecord) -> None:
        """Open a second fold for the step that waited for a stage to be built: folds don't nest."""
        step = record.step
        if step is not None and not step.is_done:
            title = f"{step.stage} {step.number}/{step.total} goes on"
            self._unopened = (f"{_fold_name(step.id)}_on", title)


def _fold_name(step_id: str) -> str:
    stage_id, _, number = step_id.rpartition("/")
    return f"stage{stage_id}_step{number}"


def _fields(event: Event) -> dict[str, Any]:
    """The values of an event by their names, for programs that read JSON lines; `event` is its kind."""
    kind = _CAPITAL.sub("_", type(event).__name__).lower()
    if isinstance(event, Note | SourceRead):
        return {"event": kind}
    values = {key: _plain(value) for key, value in dataclasses.asdict(event).items() if key not in _UNTOLD}
    return {"event": kind, **values}


def _plain(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value
