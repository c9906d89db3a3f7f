"""Events that a build reports; nothing here prints."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Note:
    """Something to say to the user; `level` is debug, info or warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Work on one instruction begins; `number` counts from 1 within the stage's `total`."""

    stage: str
    number: int
    total: int
    text: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """The instruction is done; `layer_bytes` is the compressed layer's size, None where it makes none."""

    stage: str
    number: int
    total: int
    duration_s: float
    layer_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Transferred:
    """A blob was moved, or spared: `how` is pulled, pushed, mounted or exists."""

    how: str
    digest: str
    size_bytes: int
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image has its tag; `reference` is the name, `digest` the manifest's."""

    reference: str
    digest: str


Event = Note | StepStarted | StepEnded | Transferred | Pushed


class Reporter(Protocol):
    """What a build tells its events to; called from several threads."""

    def report(self, event: Event) -> None:
        """Take one event; never raises, never blocks for long."""


class Silent:
    """A reporter that drops every event."""

    def report(self, event: Event) -> None:
        """Drop the event."""
