"""The tier of a test: `quick` is what `make test` runs, `slow` and `rest` are what `make test-all` adds.

A test is of the rest when it lies in tests/containers or has one of the markers in `_REST`: it needs engines,
other builders or runners. It is slow when it lies in tests/kernel or has the marker `slow`: it needs no more
than a quick one, but `make test` must take minutes. Nothing else decides it.
"""

from collections.abc import Iterable
from pathlib import Path

from support.places import TESTS

QUICK, SLOW, REST, ALL = TIERS = ("quick", "slow", "rest", "all")

_REST_DIRECTORY = TESTS / "containers"
_SLOW_DIRECTORY = TESTS / "kernel"
_REST = frozenset({"docker", "podman", "buildah", "debian", "runner"})


def is_left_out(directory: Path, tier: str) -> bool:
    """Whether a tier has no test in a directory, so that nothing there needs to be imported."""
    return tier in (QUICK, SLOW) and directory == _REST_DIRECTORY


def is_in_tier(path: Path, markers: Iterable[str], tier: str) -> bool:
    """Whether a tier has the test with these markers in this file."""
    return tier in (ALL, _tier_of(path, frozenset(markers)))


def _tier_of(path: Path, markers: frozenset[str]) -> str:
    if _REST_DIRECTORY in path.parents or not _REST.isdisjoint(markers):
        return REST
    return SLOW if _SLOW_DIRECTORY in path.parents or "slow" in markers else QUICK
