"""Places of knarr itself that lie in a directory of the user's, and are no part of it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from knarr.layers.paths import join, name_of, parent_of

_WORK_DIRECTORY = re.compile(r"knarr-[a-z0-9_]{8}")


def places_below(directory: Path, own: Iterable[Path]) -> tuple[str, ...]:
    """The paths in a directory that are among `own`, relative to it, wherever links lead; never itself.

    A directory that holds nothing but such places is one, since it was made for them; so is one that will be.
    The work directory of another build, beside one of `own`, is one too.
    """
    root = os.path.realpath(directory)
    inside = {path for each in own if (path := _inside(root, each))}
    inside |= {path for each in list(inside) for path in _others_beside(root, each)}
    waiting = {parent_of(each) for each in inside}
    while waiting:
        path = max(waiting, key=len)  # what lies deepest first
        waiting.remove(path)
        own_names = {name_of(each) for each in inside if parent_of(each) == path}
        if path and _is_made_for(os.path.join(root, path), own_names):
            inside.add(path)
            waiting.add(parent_of(path))
    return tuple(sorted(inside))


def _inside(root: str, path: Path) -> str:
    """A path relative to the root; empty where it is the root, or lies outside."""
    # The last component may be a link that is replaced, or one that leads on: where it lies counts.
    for real in (os.path.join(os.path.realpath(path.parent), path.name), os.path.realpath(path)):
        if real.startswith(f"{root.rstrip('/')}/"):
            return real[len(root.rstrip("/")) + 1 :]
    return ""


def _others_beside(root: str, path: str) -> list[str]:
    """Work directories of other builds, where the path is this build's."""
    above = parent_of(path)
    if not _WORK_DIRECTORY.fullmatch(name_of(path)):
        return []
    found = filter(_WORK_DIRECTORY.fullmatch, _names(os.path.join(root, above)))
    return [join(above, each) for each in found if _is_closed_directory(os.path.join(root, above, each))]


def _is_made_for(directory: str, own: set[str]) -> bool:
    """Whether a directory holds nothing else, or is not there yet."""
    if not os.path.lexists(directory):
        return True
    names = _names(directory)
    return bool(names) and own.issuperset(names)


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _is_closed_directory(path: str) -> bool:
    """Whether a directory is as every work directory is, but hardly one of the user's."""
    try:
        return os.lstat(path).st_mode == 0o40700
    except OSError:
        return False
