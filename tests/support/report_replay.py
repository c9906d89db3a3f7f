"""Tells a build's events to a session, on a clock of its own."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from knarr.cli.flags.logging import LogFlags
from knarr.report.session import ReportSession
from knarr.report.settings import ReportSettings
from support.report_events import BEGAN_AT_S, Story


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return BEGAN_AT_S + self.now_s - 100


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Replay:
    """What a session wrote of a story."""

    flags: LogFlags = field(default_factory=LogFlags)
    environment: Mapping[str, str] = field(default_factory=dict)
    stream: io.StringIO = field(default_factory=io.StringIO)
    clock: Clock = field(default_factory=Clock)

    def tell(self, story: Story, error: Exception | None = None) -> str:
        """Play it, end with an error where one is given; the result is what was printed."""
        settings = ReportSettings.of(self.flags, self.environment, self.stream)
        session = ReportSession(
            settings, self.stream, token="TOKEN", clock=self.clock, wall_clock=self.clock.wall
        )
        if error is None:
            self._play(session, story, None)
        else:
            with pytest.raises(type(error)):
                self._play(session, story, error)
        return self.stream.getvalue()

    def _play(self, session: ReportSession, story: Story, error: Exception | None) -> None:
        with session:
            for wait_s, event in story:
                self.clock.now_s += wait_s
                session.report(event)
            if error is not None:
                raise error
