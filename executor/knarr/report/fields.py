"""The values of an event, for programs that read JSON lines."""

import dataclasses
import re
from typing import Any

from knarr.progress import Event, Note, SourceRead
from knarr.report.text import visible

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_UNTOLD = frozenset({"text", "message", "hint"})
"""They are the message."""


def fields_of(event: Event) -> dict[str, Any]:
    """`event` with its kind in snake case, and its values by their names."""
    kind = _CAPITAL.sub("_", type(event).__name__).lower()
    if isinstance(event, Note | SourceRead):
        return {"event": kind}
    values = {key: _plain(value) for key, value in dataclasses.asdict(event).items() if key not in _UNTOLD}
    return {"event": kind, **values}


def _plain(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value
