"""The reporter of one build, from its first event to what is written at its end."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from knarr.errors import DockerfileError, EndedBySignal, KnarrError, OutputError, RunError
from knarr.linux.whole_files import check_place, os_errors, write_file
from knarr.progress import CheckFound, Event, Failed, StageStarted
from knarr.report.lines import github
from knarr.report.lines.folds import Folds, GithubFolds, GitlabFolds
from knarr.report.lines.formats import Moment
from knarr.report.lines.outlets import Outlet, StreamOutlet, TerminalOutlet
from knarr.report.lines.printer import Printer
from knarr.report.lines.status import status_lines
from knarr.report.markdown import job_summary
from knarr.report.page.page import render_page
from knarr.report.record import BuildRecord
from knarr.report.recorder import Recorder
from knarr.report.settings import Ci, LogChoices, ReportSettings
from knarr.report.summary import headline, summary_fields, summary_lines
from knarr.report.totals import Totals

_USUAL_WIDTH = 80
_INTERNAL = 70
_MOST_SUMMARY_BYTES = 1024 * 1024
"""GitHub refuses larger ones whole."""
_FOLDS: Mapping[Ci, Callable[[str], Folds | None]] = {
    "github": GithubFolds,
    "gitlab": lambda _: GitlabFolds(),
    "none": lambda _: None,
}


class ReportSession:
    """A reporter to be used with `with`: the end of the block is the end of the build.

    Leaving it by an exception reports the failure. Raises OutputError where a page was asked for and can't be
    written, at once for a directory that is missing, and at the end of a build that did not fail.
    """

    def __init__(
        self,
        settings: ReportSettings,
        stream: TextIO,
        *,
        token: str,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`token` is text that no build step can guess."""
        if settings.page is not None:
            _prepare_page(settings.page)
        self._settings = settings
        self._wall_clock = wall_clock
        self._lock = threading.RLock()
        self._recorder = Recorder(clock, began_at_s=wall_clock())
        self._terminal = self._open_terminal(stream) if settings.is_live else None
        outlet: Outlet = self._terminal or StreamOutlet(stream)
        is_github = settings.ci == "github"
        self._printer = Printer(
            outlet,
            settings.line_format,
            rank=settings.rank,
            folds=_FOLDS[settings.ci](token),
            notes=partial(_github_note, settings.workspace) if is_github else lambda _event, _record: "",
            ends_lines=settings.is_json,
            clean=github.inert if is_github else str,
        )

    @classmethod
    def of(cls, flags: LogChoices, environment: Mapping[str, str], stream: TextIO, *, token: str) -> Self:
        """The session that flags and environment ask for. Raises UsageError, OutputError."""
        return cls(ReportSettings.of(flags, environment, stream), stream, token=token)

    def report(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            self._recorder.report(event)
            if self._terminal is not None and isinstance(event, StageStarted):
                self._terminal.start()
            self._printer.show(event, self._recorder.record, self._moment())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if error is not None:
                self._fail(_failure_of(error))
            self._recorder.end()
            self._printer.close(self._moment())
            record = self._recorder.record
            if record.steps_begun:
                self._conclude(record, Totals.of(record, self._recorder.now_s))
            if self._settings.page is not None:
                self._write_page(record, is_failing=error is not None)

    def _fail(self, failure: Failed) -> None:
        """Take the failure. The program prints it in words of its own; notes and JSON tell it here."""
        self._recorder.report(failure)
        tells = self._settings.is_json or self._settings.ci == "github"
        if tells:
            self._printer.show(failure, self._recorder.record, self._moment())

    def _conclude(self, record: BuildRecord, totals: Totals) -> None:
        if self._settings.job_summary is not None:
            problem = _append_job_summary(self._settings.job_summary, job_summary(record, totals))
            if problem:
                self._printer.say("warning", problem, self._moment())
        lines: Sequence[str] = (
            [] if self._settings.is_json or record.failure else summary_lines(record, totals)
        )
        text = "\n".join([*lines, headline(record, totals)])
        self._printer.say("info", text, self._moment(), summary_fields(record, totals))

    def _write_page(self, record: BuildRecord, *, is_failing: bool) -> None:
        assert self._settings.page is not None
        try:
            _write_page(self._settings.page, render_page(record))
        except OutputError as error:
            if not is_failing:
                raise
            self._printer.say("warning", error.message, self._moment())

    def _moment(self) -> Moment:
        return Moment(self._recorder.now_s, self._wall_clock())

    def _open_terminal(self, stream: TextIO) -> TerminalOutlet:
        return TerminalOutlet(
            stream,
            self._lock,
            lambda width: status_lines(self._recorder.record, self._recorder.now_s, width),
            partial(_width, stream),
        )


def _width(stream: TextIO) -> int:
    """Columns of the terminal now; 80 where it is none, or does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def _github_note(workspace: str, event: Event, record: BuildRecord) -> str:
    """The workflow command for an event, empty where it has none."""
    path = github.path_in_repository(record.source_path, workspace)
    if isinstance(event, CheckFound):
        return github.check_note(event, path)
    if isinstance(event, Failed):
        step = record.failed_step
        return github.failure_note(event, path, event.line or (step.line if step is not None else 0))
    return ""


def _failure_of(error: BaseException) -> Failed:
    """The event of an exception that leaves a build."""
    if isinstance(error, KnarrError):
        place = error.location if isinstance(error, DockerfileError) else None
        line = place.line if place is not None else error.line
        output = error.output if isinstance(error, RunError) else ""
        return Failed(error.message, error.hint or "", line, error.exit_status, output)
    if isinstance(error, EndedBySignal):
        return Failed(f"ended by {error.name}", exit_status=error.exit_status)
    return Failed(f"internal error: {type(error).__name__}: {error}", exit_status=_INTERNAL)


def _prepare_page(path: Path) -> None:
    """Find out before the build whether a page can be written. Raises OutputError."""
    check_place("--report", path)


def _write_page(path: Path, text: str) -> None:
    """Write a page; an older one is replaced when the new one is whole. Raises OutputError."""
    with os_errors(f"writing the report {path}"):
        write_file(path, text.encode("utf-8", "backslashreplace"))


def _append_job_summary(path: Path, text: str) -> str:
    """Append to the job's summary; what went wrong otherwise, which is no reason to fail a build."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        with path.open("ab") as file:
            if os.fstat(file.fileno()).st_size + len(data) > _MOST_SUMMARY_BYTES:
                return "the job summary has no room for this build"
            file.write(data)
    except OSError as error:
        return f"can't write the job summary {path}: {error.strerror}"
    return ""
