"""The tier of a test: `quick` is what `make test` runs, `rest` is what `make test-all` adds to it.

A test is of the rest when it lies in tests/containers or has one of the markers in `_MARKERS`. Nothing else
decides it.
"""

from collections.abc import Iterable
from pathlib import Path

from support.places import TESTS

QUICK, REST, ALL = TIERS = ("quick", "rest", "all")

_DIRECTORY = TESTS / "containers"
_MARKERS = frozenset({"docker", "podman", "buildah", "debian", "runner"})


def is_left_out(directory: Path, tier: str) -> bool:
    """Whether a tier has no test in a directory, so that nothing there needs to be imported."""
    return tier == QUICK and directory == _DIRECTORY


def is_in_tier(path: Path, markers: Iterable[str], tier: str) -> bool:
    """Whether a tier has the test with these markers in this file."""
    is_rest = _DIRECTORY in path.parents or not _MARKERS.isdisjoint(markers)
    return tier == ALL or is_rest == (tier == REST)
