"""Flags that say how RUN steps are run."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class IsolationFlags:
    """Isolation."""

    isolation: Annotated[
        str, value("isolation", "How RUN is kept apart: auto, namespace, inplace or none.")
    ] = "auto"
    force: Annotated[
        Switch,
        switch("force", "Let a knarr image build in place where it sees no container around it."),
    ] = OFF
