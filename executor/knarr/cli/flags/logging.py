"""Flags that say what is printed."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class LogFlags:
    """Lines on stderr, a page to read afterwards."""

    verbosity: Annotated[
        str, value("verbosity", "trace, debug, info, warn, error, fatal or panic.", short="v")
    ] = "info"
    log_format: Annotated[str, value("log-format", "plain, color, text (logfmt) or json.")] = "plain"
    log_timestamp: Annotated[
        Switch, switch("log-timestamp", "With --log-format=color: the time, not the seconds since the start.")
    ] = OFF
    progress: Annotated[
        str, value("progress", "auto, plain or tty: whether a terminal shows what goes on right now.")
    ] = "auto"
    ci: Annotated[str, value("ci", "auto, github, gitlab or none: whose log folds and notes to print.")] = (
        "auto"
    )
    report: Annotated[str, value("report", "Write an HTML page about the build, a failed one too.")] = ""
