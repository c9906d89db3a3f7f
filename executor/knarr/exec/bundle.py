"""Whether this program runs from the directory that an image of Knarr's own keeps it in."""

import sys
from pathlib import Path

import knarr

BUNDLE = Path("/knarr")
CONFIGURATION = Path("/kaniko")
"""Where an image of ours has its configuration, as kaniko does."""
_MARKER = BUNDLE / "image"
"""Only the images have it."""


def is_lasting(path: Path) -> bool:
    """Whether no build in place touches a path in an image of ours."""
    return any(path.is_relative_to(place) for place in (BUNDLE, CONFIGURATION))


def own_directories() -> tuple[Path, ...]:
    """Where this program lies: its package, the interpreter, that one's library."""
    places = {Path(knarr.__file__).resolve().parents[1], Path(sys.executable).resolve().parent}
    return tuple(places | {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()})


def runs_from_image() -> bool:
    """Whether all of this program lies in the image's own directory, and needs nothing else of `/`."""
    return _MARKER.is_file() and all(place.is_relative_to(BUNDLE) for place in own_directories())
