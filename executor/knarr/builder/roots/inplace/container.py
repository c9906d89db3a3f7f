"""The container that a build in place runs in: its files make room for images, then come back."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from knarr.builder.roots.inplace import own_files
from knarr.builder.roots.inplace.lent_volumes import LentVolumes
from knarr.errors import IsolationError, KnarrError
from knarr.layers.paths import is_within, parent_of
from knarr.linux.mounts import read_mount_points
from knarr.progress import Note, Reporter
from knarr.rootfs.unpacking.protection import Protection, Refused

_OWN_FILES = ("proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "etc/hostname")
"""Every container has its own, and no image's are expected there."""
_FIRST_PROCESS = 1
"""The one that a container was started for: no shell waits for its end."""
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Container:
    """The files below one root directory, away from it between `make_room` and `restore`.

    Never touched: what is mounted in it, and `kept` with all below. But an empty volume in which nothing of
    `kept` and `outputs` lies or will is the image's where that has something there, and emptied afterwards.
    """

    def __init__(
        self,
        root: Path,
        work_dir: Path,
        kept: Iterable[Path],
        reporter: Reporter,
        outputs: Iterable[Path] = (),
    ) -> None:
        kept = tuple(kept)
        if root in kept:
            raise IsolationError(
                f"can't build in place with {root} as the build context",
                hint="--context names a directory of its own, best a volume",
            )
        self._root = root
        self._work_dir = work_dir
        self._working_directory = Path.cwd()
        self._archive: BinaryIO | None = None
        own = [path for path in map(root.joinpath, _OWN_FILES) if os.path.lexists(path)]
        paths = (work_dir, *kept, *own)
        # Where links lead now: what an image makes of them is its own affair.
        self._kept = frozenset(paths) | frozenset(Path(os.path.realpath(path)) for path in paths)
        self._outputs = tuple(outputs)
        self._lent = LentVolumes(root)
        self._reporter = reporter
        self._root_metadata = root.stat()
        self._actions: list[Callable[[], None]] = []
        self._warned: set[str] = set()

    def before_takeover(self, action: Callable[[], None]) -> None:
        """Have something done before the files make room."""
        self._actions.append(action)

    def make_room(self) -> Protection:
        """Empty the root directory, its files kept if they are there; the result is what had to stay.

        Raises OutputError, ContextError.
        """
        self._give_back()
        protection = self._protect()
        if self._archive is None:
            for action in self._actions:
                action()
            self._archive = own_files.save(self._root, protection, self._work_dir)
            self._tell_of_volumes()
        own_files.empty(self._root, protection)
        return protection

    def restore(self) -> None:
        """Put the files back, empty what was lent; may be called again. A failure is only reported."""
        if self._archive is None and not self._lent:
            return
        with nullcontext() if _is_first() else _undisturbed():
            self._give_back()
            self._put_back()

    def _give_back(self) -> None:
        for problem in self._lent.give_back():
            self._reporter.report(Note(problem, "warning"))

    def _put_back(self) -> None:
        if self._archive is None:
            return
        archive, self._archive = self._archive, None
        try:
            with archive:
                own_files.put_back(self._root, self._protect(), archive, self._root_metadata)
        except KnarrError as error:
            self._reporter.report(Note(own_files.describe_failure(error), "warning"))

    def end(self, error: BaseException | None) -> None:
        """`restore` after a build that ended with this error, if one did.

        Where a signal ends the container's first process, only volumes get theirs back: the container ends
        with it, and soon has to.
        """
        is_signal = error is not None and not isinstance(error, Exception)
        if _is_first() and is_signal and self._archive is not None:
            self._archive.close()
            self._archive = None
        self.restore()

    def warn_of_hidden(self, place: str, path: str) -> None:
        """Warn that a protected place keeps out a file of the image, once for each place."""
        if place in self._warned or is_own(place):
            return
        self._warned.add(place)
        text = (
            f"the image has /{path}, but /{place} is this container's own: RUN steps don't see "
            "the image's files there, and what they change there is lost"
        )
        self._reporter.report(Note(text, "warning"))

    def _tell_of_volumes(self) -> None:
        volumes = filter(None, map(self._inside, map(Path, read_mount_points())))
        known = frozenset(filter(None, map(self._inside, self._kept)))
        places = sorted(f"/{volume}" for volume in volumes if not is_within(volume, known))
        if places:
            text = f"volumes of this container, which are no part of the image: {' '.join(places)}"
            self._reporter.report(Note(text))

    def _protect(self) -> Protection:
        here = None if _is_first() else self._inside(self._working_directory)
        # The shell that started this works there, and would not find a new directory of the same name.
        pinned = [here] if here and (self._root / here).is_dir() else []
        return Protection(self._protected_paths(), pinned=pinned, lend=self._lend)

    def _lend(self, place: str, protected: frozenset[str], made: frozenset[str]) -> frozenset[str] | Refused:
        """See `Protection`; only for volumes that are there for nothing that this build knows of."""
        volumes = frozenset(filter(None, map(self._inside, map(Path, read_mount_points()))))
        if place not in volumes or is_own(place):
            return Refused("it is no volume of its own")
        for path in (*self._kept, *self._outputs):
            for real in {path, Path(os.path.realpath(path))}:
                if _nearest(self._inside(real) or "", volumes) == place:
                    return Refused(f"{path} is in it")
        lent = self._lent.lend(place, protected, made)
        if not isinstance(lent, Refused):
            text = f"the empty volume at /{place} is the image's during the build, and empty again afterwards"
            self._reporter.report(Note(text))
        return lent

    def _protected_paths(self) -> Iterator[str]:
        """Paths inside the root; the mounts read anew, since volumes may come and go."""
        for path in (*self._kept, *map(Path, read_mount_points())):
            inside = self._inside(path)
            if inside is not None:
                yield inside

    def _inside(self, path: Path) -> str | None:
        """A path as one inside the root; None for the root itself, and for what lies outside."""
        return str(path.relative_to(self._root)) if self._root in path.parents else None


def is_own(place: str) -> bool:
    """Whether a path inside the root is one that every container has its own of, or lies below one."""
    return is_within(place, frozenset(_OWN_FILES))


def _nearest(path: str, volumes: frozenset[str]) -> str:
    """The volume that a path lies in; empty for the root's."""
    while path and path not in volumes:
        path = parent_of(path)
    return path


def _is_first() -> bool:
    return os.getpid() == _FIRST_PROCESS


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back what asks this process to end until the block is through."""
    asked: list[int] = []
    before = {number: signal.signal(number, lambda each, _: asked.append(each)) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in asked:
            signal.raise_signal(each)
