"""Log levels by kaniko's names."""

from collections.abc import Mapping
from types import MappingProxyType

from knarr.errors import UsageError

RANKS: Mapping[str, int] = MappingProxyType(
    {
        "trace": 0,
        "debug": 1,
        "info": 2,
        "warn": 3,
        "warning": 3,
        "error": 4,
        "fatal": 5,
        "panic": 5,
    }
)


def parse_verbosity(text: str) -> int:
    """The rank of a level; UsageError for a word that is none."""
    try:
        return RANKS[text.lower()]
    except KeyError as error:
        levels = ", ".join(RANKS)
        raise UsageError(f"not a log level: {text!r}", hint=f"the levels are {levels}") from error
