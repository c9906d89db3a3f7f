"""Flags that say what is printed."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import value


@dataclass(frozen=True, slots=True)
class LogFlags:
    """Verbosity."""

    verbosity: Annotated[
        str, value("verbosity", "trace, debug, info, warn, error, fatal or panic.", short="v")
    ] = "info"
