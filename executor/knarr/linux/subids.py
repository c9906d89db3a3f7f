"""Subordinate ids, the ranges that /etc/subuid grants a user (subuid(5))."""

import pwd
from dataclasses import dataclass
from pathlib import Path

_MAX_FILE_BYTES = 1024 * 1024
_MAX_RANGES = 300  # the kernel takes 340 lines in a map


@dataclass(frozen=True, slots=True)
class IdRange:
    """`count` ids from `start` on."""

    start: int
    count: int


def subordinate_ranges(file: str, uid: int) -> list[IdRange]:
    """The ranges that `file` grants to the user `uid`, by number or by name; none where unreadable."""
    owners = {str(uid)}
    try:
        owners.add(pwd.getpwuid(uid).pw_name)
    except KeyError:
        pass
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(_MAX_FILE_BYTES).decode(errors="replace")
    except OSError:
        return []
    parsed = (_parse_line(line, owners) for line in text.splitlines())
    return [each for each in parsed if each is not None][:_MAX_RANGES]


def _parse_line(line: str, owners: set[str]) -> IdRange | None:
    owner, _, rest = line.strip().partition(":")
    start, _, count = rest.partition(":")
    if owner not in owners or not (start.isdecimal() and count.isdecimal()) or int(count) == 0:
        return None
    return IdRange(int(start), int(count))
