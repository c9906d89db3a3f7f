"""Paths of a root file system that are not the image's: never written, emptied, removed, nor in a layer."""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from knarr.layers.paths import parent_of
from knarr.rootfs.paths import Fate


class ProtectedError(Exception):
    """A path is not ours to touch."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a protected place stays protected."""

    reason: str
    is_left_over: bool = False
    """Whether files of an earlier build are in it."""


Lend = Callable[[str, frozenset[str], frozenset[str]], frozenset[str] | Refused]
"""Asked for a protected place that an image has something in, with all protected paths, and paths that were
made there a moment ago. The answer is what stays protected in it where it is the image's from now on."""


class Protection:
    """The protected paths, each with all below it, and what becomes of the directories above them.

    Those directories can't go as long as something protected is in them, whatever the image has in their
    place. So this keeps, from one layer to the next, which of them the image has no part in (`is_ghost`),
    and where it has something else than a directory (`is_blocked`). As a filter of a tree it shows the image
    alone.
    """

    def __init__(self, paths: Iterable[str], *, pinned: Iterable[str] = (), lend: Lend | None = None) -> None:
        """`pinned` are directories that stay themselves, with nothing in them protected.

        `lend` may give a place to the image; such a one is pinned from then on.
        """
        self.paths = frozenset(paths)
        self._lend = lend
        self.refusals: dict[str, Refused] = {}
        """The places that were asked for in vain."""
        self.lent: frozenset[str] = frozenset()
        """Those that were given."""
        pinned = frozenset(pinned)
        self._above = {str(above) for path in (*self.paths, *pinned) for above in PurePosixPath(path).parents}
        self._above |= pinned
        self._above.discard(".")
        self._ghosts = set(self._above)
        self._blocked: set[str] = set()

    def covering(self, path: str) -> str | None:
        """The protected path that this is, or lies below."""
        while path:
            if path in self.paths:
                return path
            path = parent_of(path)
        return None

    def lend(self, path: str, made: frozenset[str] = frozenset()) -> bool:
        """Have the image get the place that a path is protected by; whether the path is its own then.

        `made` are paths in it that the caller has made, and removes.
        """
        place = self.covering(path)
        if place is None:
            return True
        if self._lend is None or place in self.refusals:
            return False
        kept = self._lend(place, self.paths, made)
        if isinstance(kept, Refused):
            self.refusals[place] = kept
            return False
        self.paths = (self.paths - {place}) | kept
        self.lent |= {place}
        above = {str(above) for each in kept for above in PurePosixPath(each).parents} | {place}
        self._ghosts |= above - self._above - {"."}
        self._above |= above - {"."}
        return True

    def covers(self, path: str) -> bool:
        """Whether a path is protected."""
        return self.covering(path) is not None

    def below(self, path: str) -> str | None:
        """A protected path that lies in this directory."""
        return min((each for each in self.paths if each.startswith(f"{path}/")), default=None)

    def check(self, path: str) -> None:
        """Raises ProtectedError for what is protected."""
        if self.covers(path):
            raise ProtectedError(path)

    def fate(self, path: str) -> Fate:
        """What clearing the root does with a path."""
        if self.covers(path):
            return Fate.KEEP
        return Fate.DESCEND if path in self._above else Fate.REMOVE

    def is_ghost(self, path: str) -> bool:
        """Whether a directory is there only for what is protected in it."""
        return path in self._ghosts

    def is_blocked(self, path: str) -> bool:
        """Whether a directory stands where the image has something else, or below such a one."""
        while path and path not in self._blocked:
            path = parent_of(path)
        return bool(path)

    def describe(self, path: str) -> None:
        """A layer has this path: the directories above it are the image's, and itself if it is one."""
        while path:
            self._ghosts.discard(path)
            path = parent_of(path)

    def block(self, path: str) -> None:
        """A layer has something else than a directory where one must stay."""
        self._blocked.add(path)

    def unblock(self, path: str) -> None:
        """A layer has a directory there."""
        self._blocked.discard(path)

    def hide(self, path: str, *, own: Container[str] = ()) -> None:
        """A layer deletes this directory, or all in it for the root, except for the paths in `own`."""
        prefix = f"{path}/" if path else ""
        for above in self._above:
            if (above == path or above.startswith(prefix)) and above not in own:
                self._ghosts.add(above)
                self._blocked.discard(above)

    def leaves_out(self, path: str) -> bool:
        """Whether a scan leaves out a path with all below it."""
        return self.covers(path) or self.is_blocked(path)

    def excludes(self, path: str) -> bool:
        """Whether a path is no part of the image."""
        return self.leaves_out(path) or self.is_ghost(path)
