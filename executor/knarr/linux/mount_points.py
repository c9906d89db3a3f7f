"""Where something is mounted in this process's root (proc(5), mountinfo)."""

import re
from pathlib import Path

_ESCAPE = re.compile(r"\\([0-7]{3})")


def read_mount_points() -> frozenset[str]:
    """The absolute paths of all mount points but `/`, as they are now."""
    return parse_mount_points(Path("/proc/self/mountinfo").read_bytes())


def parse_mount_points(mountinfo: bytes) -> frozenset[str]:
    """Field 5 of every line; space, tab, newline and backslash are octal there."""
    paths = (line.split(b" ")[4] for line in mountinfo.splitlines() if line.count(b" ") >= 4)
    named = (_ESCAPE.sub(_unescape, path.decode(errors="surrogateescape")) for path in paths)
    return frozenset(path for path in named if path != "/")


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))
