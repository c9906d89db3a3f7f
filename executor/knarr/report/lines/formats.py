"""How a message looks as a line: our own form, and kaniko's three."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from knarr.errors import UsageError

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")
_LOGRUS_LEVELS = MappingProxyType({"warn": "warning", "panic": "fatal"})
_RESET = "\x1b[0m"
_LOGRUS_COLORS = MappingProxyType({"debug": 37, "trace": 37, "info": 36, "warning": 33})
_RED, _YELLOW, _DIM, _BOLD = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[1m"
_STYLES = MappingProxyType({"debug": _DIM, "trace": _DIM, "warning": _YELLOW, "error": _RED})


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is said: seconds since the build began, seconds since 1970."""

    elapsed_s: float
    wall_s: float


class LineFormat(Protocol):
    """Makes lines of messages; the result ends with a newline."""

    def render(self, moment: Moment, level: str, text: str, fields: Mapping[str, Any]) -> str:
        """One message; `fields` are its values for programs. `bold` among them asks for emphasis."""
        ...


class PlainFormat:
    """`[   1.2s] text`; warnings and errors say that they are."""

    def __init__(self, *, has_color: bool) -> None:
        self._has_color = has_color

    def render(self, moment: Moment, level: str, text: str, fields: Mapping[str, Any]) -> str:
        """One message."""
        prefix = f"[{moment.elapsed_s:6.1f}s] "
        word = f"{level}: " if level in ("warning", "error") else ""
        style = _STYLES.get(level, _BOLD if fields.get("event") == "step_started" else "")
        return "".join(self._line(prefix, f"{word}{line}", style) for line in text.split("\n"))

    def _line(self, prefix: str, text: str, style: str) -> str:
        if not self._has_color:
            return f"{prefix}{text}\n"
        shown = f"{style}{text}{_RESET}" if style else text
        return f"{_DIM}{prefix}{_RESET}{shown}\n"


class ColorFormat:
    """kaniko's `color`: `INFO[0001] text`, with ANSI colours on no terminal too."""

    def __init__(self, *, has_color: bool, has_timestamp: bool) -> None:
        self._has_color = has_color
        self._has_timestamp = has_timestamp

    def render(self, moment: Moment, level: str, text: str, fields: Mapping[str, Any]) -> str:
        """One message."""
        level = _LOGRUS_LEVELS.get(level, level)
        word = level[:4].upper()
        if self._has_color:
            word = f"\x1b[{_LOGRUS_COLORS.get(level, 31)}m{word}{_RESET}"
        when = _rfc3339(moment) if self._has_timestamp else f"{int(moment.elapsed_s):04}"
        return "".join(f"{word}[{when}] {line}\n" for line in text.split("\n"))


class TextFormat:
    """kaniko's `text`: logfmt, always with the time."""

    def render(self, moment: Moment, level: str, text: str, fields: Mapping[str, Any]) -> str:
        """One message."""
        level = _LOGRUS_LEVELS.get(level, level)
        return f"time={_quoted(_rfc3339(moment))} level={level} msg={_quoted(text)}\n"


class JsonFormat:
    """kaniko's `json`: one object a line, the event's values beside the message."""

    def render(self, moment: Moment, level: str, text: str, fields: Mapping[str, Any]) -> str:
        """One message."""
        level = _LOGRUS_LEVELS.get(level, level)
        document = {"level": level, "msg": text, "time": _rfc3339(moment), **fields}
        return json.dumps(document, separators=(",", ":")) + "\n"


def parse_format(name: str, *, has_timestamp: bool, has_color: bool, is_colorless: bool) -> LineFormat:
    """The format of this name; `is_colorless` forbids colours that `color` has without a terminal too.

    Raises UsageError.
    """
    makers: Mapping[str, Callable[[], LineFormat]] = {
        "plain": lambda: PlainFormat(has_color=has_color),
        "color": lambda: ColorFormat(has_color=not is_colorless, has_timestamp=has_timestamp),
        "text": TextFormat,
        "json": JsonFormat,
    }
    if name not in makers:
        raise UsageError(f"not a valid log format: {name!r}", hint=f"the formats are {', '.join(makers)}")
    return makers[name]()


def _rfc3339(moment: Moment) -> str:
    return datetime.fromtimestamp(int(moment.wall_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quoted(text: str) -> str:
    """As Go's logfmt writers do: bare where every character is harmless."""
    if text and all(character in _BARE for character in text):
        return text
    return json.dumps(text, ensure_ascii=False)
