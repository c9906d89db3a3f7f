"""Flags that say how RUN steps are run."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import value


@dataclass(frozen=True, slots=True)
class IsolationFlags:
    """Isolation."""

    isolation: Annotated[str, value("isolation", "How RUN is kept apart: auto, namespace or none.")] = "auto"
