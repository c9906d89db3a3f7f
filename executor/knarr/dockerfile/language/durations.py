"""Durations in Go's syntax, in nanoseconds.

Used by HEALTHCHECK: `1h30m`, `1.5s`, `500ms`; "0" needs no unit (Go `time.ParseDuration`).
"""

import re
from fractions import Fraction

from knarr.errors import DockerfileError

_MICROSECOND_NS = 1_000
_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000_000_000

_UNITS_NS = {
    "ns": 1,
    "us": _MICROSECOND_NS,
    "\u00b5s": _MICROSECOND_NS,  # micro sign
    "\u03bcs": _MICROSECOND_NS,  # Greek mu
    "ms": _MILLISECOND_NS,
    "s": _SECOND_NS,
    "m": 60 * _SECOND_NS,
    "h": 3600 * _SECOND_NS,
}
_MAXIMUM_NS = 2**63 - 1
_PART = re.compile(r"([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")


def parse_duration_ns(text: str) -> int:
    """Nanoseconds, negative where the text says so; raises DockerfileError without a location."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total = 0
    position = 0
    while part := _PART.match(rest, position):
        total += int(Fraction(_decimal(part[1])) * _UNITS_NS[part[2]])
        position = part.end()
    if not rest or position != len(rest):
        raise DockerfileError(
            f"invalid duration {text!r}", hint="a number with a unit: ns, us, ms, s, m or h, as in 1m30s"
        )
    if total > _MAXIMUM_NS:
        raise DockerfileError(f"duration out of range: {text!r}")
    return sign * total


def format_duration(duration_ns: int) -> str:
    """Go's `Duration.String`: `1h30m0s`, `1.5s`, `100ms`, `0s`."""
    sign = "-" if duration_ns < 0 else ""
    ns = abs(duration_ns)
    if ns == 0:
        return "0s"
    for unit_ns, unit in ((_MICROSECOND_NS, "ns"), (_MILLISECOND_NS, "\u00b5s"), (_SECOND_NS, "ms")):
        if ns < unit_ns:
            return f"{sign}{_fraction(ns, unit_ns // 1000)}{unit}"
    minutes, rest_ns = divmod(ns, 60 * _SECOND_NS)
    hours, minutes = divmod(minutes, 60)
    prefix = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{prefix}{_fraction(rest_ns, _SECOND_NS)}s"


def _decimal(text: str) -> str:
    whole, _, part = text.partition(".")
    return f"{whole or '0'}.{part or '0'}"


def _fraction(ns: int, unit_ns: int) -> str:
    whole, rest = divmod(ns, unit_ns)
    if not rest:
        return str(whole)
    digits = str(rest).rjust(len(str(unit_ns)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"
