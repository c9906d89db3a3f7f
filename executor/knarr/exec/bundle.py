"""The directories of an image of Knarr's own, which hold this program where it runs from one."""

import sys
from pathlib import Path

import knarr

BUNDLE = Path("/knarr")
CONFIGURATION = Path("/kaniko")
"""Where an image of ours has its configuration, as kaniko does."""
_MARKER = BUNDLE / "image"
"""Only the images have it."""


def is_lasting(path: Path) -> bool:
    """Whether a path of an image of ours is one that a build in place never touches."""
    return any(path.is_relative_to(place) for place in (BUNDLE, CONFIGURATION))


def own_directories() -> tuple[Path, ...]:
    """Where the package, the interpreter and the interpreter's library are."""
    places = {Path(knarr.__file__).resolve().parents[1], Path(sys.executable).resolve().parent}
    return tuple(places | {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()})


def runs_from_image() -> bool:
    """Whether all of this program lies in the image's own directory, and needs nothing else of `/`."""
    return _MARKER.is_file() and all(place.is_relative_to(BUNDLE) for place in own_directories())
