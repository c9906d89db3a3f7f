"""The root file system of the container that the build runs in, used as a stage's directory.

A stage has it until another needs it. What a stage loses is on disk only: all its layers are in the store.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from knarr.builder.roots.inplace import own_files as own_root
from knarr.builder.roots.inplace.foreign_directory import left_alone
from knarr.builder.roots.mount_points import Stub, stubs_in
from knarr.errors import IsolationError, KnarrError
from knarr.layers.entry import WHITEOUT_PREFIX, LayerItem
from knarr.layers.paths import clean, join, name_of, parent_of
from knarr.linux.mount_points import read_mount_points
from knarr.progress import Note, Reporter
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.protection import Protection
from knarr.rootfs.scan import Scan, changes
from knarr.rootfs.tree import Tree
from knarr.rootfs.unpack import PROTECTED, Loss

Apply = Callable[[Path], None]

_OWN_FILES = ("proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "etc/hostname")
"""Every container has its own, and no image's are expected there."""
_FIRST_PROCESS = 1
"""The one that a container was started for: no shell waits for its end."""
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SharedRoot:
    """The one root directory, lent to a stage at a time; `restore` puts back what it held before all.

    Never touched: what is mounted in it, and `kept` with all below.
    """

    def __init__(
        self, work_dir: Path, kept: Sequence[Path], reporter: Reporter, root: Path = Path("/")
    ) -> None:
        if any(path == root for path in kept):
            raise IsolationError(
                f"can't build in place with {root} as the build context",
                hint="--context names a directory of its own, best a volume",
            )
        self.root = root
        self.aside = work_dir / "aside"
        """For what must be out of the way during a step."""
        self._working_directory = Path.cwd()
        self._work_dir = work_dir
        self._archive: BinaryIO | None = None
        own = [path for path in map(root.joinpath, _OWN_FILES) if os.path.lexists(path)]
        paths = (work_dir, *kept, *own)
        # Where links lead now: what an image makes of them is its own affair.
        self._kept = frozenset(paths) | frozenset(Path(os.path.realpath(path)) for path in paths)
        self._reporter = reporter
        self._look = root.stat()
        self._holder: InplaceRoot | None = None
        self._reported: set[str] = set()
        self._hidden: set[str] = set()
        """Protected places where the image under way has files."""
        self.protection = Protection(())
        self.hash_content = False
        self.covered: set[str] = set()
        """What the step under way has other things in place of, as if mounted: it does not change."""
        self.preparations: list[Callable[[], None]] = []
        """Called before the container's files are replaced."""

    def extract(self, apply: Apply, *, hash_content: bool = False) -> "InplaceRoot":
        """Empty the directory, let `apply` fill it; whoever had it has lost it.

        With `hash_content` every scan reads every file.
        """
        self.vacate()
        self.hash_content = hash_content
        self.protection = self._protect()
        if self._archive is None:
            for prepare in self.preparations:
                prepare()
            self._archive = own_root.save(self.root, self.protection, self._work_dir)
            self._tell_of_volumes()
        own_root.empty(self.root, self.protection)
        self._hidden.clear()
        apply(self.root)
        return self._lend()

    def pass_on(self) -> "InplaceRoot":
        """Let another stage go on from what is there now; the one that had it has lost it."""
        self.vacate()
        return self._lend()

    def vacate(self) -> None:
        """Take it from the stage that has it."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def restore(self) -> None:
        """Put the container's own files back; may be called again. A failure is only reported."""
        self.vacate()
        if self._archive is None:
            return
        archive, self._archive = self._archive, None
        try:
            with archive, nullcontext() if _is_first() else _undisturbed():
                own_root.put_back(self.root, self._protect(), archive, self._look)
        except KnarrError as error:
            self._reporter.report(Note(own_root.describe_failure(error), "warning"))

    def end(self, error: BaseException | None) -> None:
        """`restore` after a build that ended with this error, if one did.

        Not where a signal ends the container's first process: the container ends with it, and soon has to.
        """
        if _is_first() and error is not None and not isinstance(error, Exception):
            self.vacate()
            if self._archive is not None:
                self._archive.close()
                self._archive = None
        self.restore()

    @contextmanager
    def open(self) -> Iterator[int]:
        """A descriptor of the directory, for the length of a block."""
        with own_root.open_root(self.root) as root_fd:
            yield root_fd

    def resolve(self, path: str) -> str:
        """A path with its symlinks followed inside the root, as entries of layers have it."""
        with self.open() as root_fd, DirTree(root_fd) as tree:
            return tree.resolve(clean(path))

    @contextmanager
    def working_in(self, path: str) -> Iterator[None]:
        """A step works in a directory for the length of a block.

        Raises IsolationError for one that is not the image's where the step would miss files of the image,
        or has changed something when the block ends.
        """
        resolved = self.resolve(path)
        place = self.protection.covering(resolved)
        if place is None:
            yield
            return
        hint = f"mount the volume somewhere else than at /{place}, or choose another WORKDIR"
        reason = self._reason_against(place, resolved)
        if reason is not None:
            raise IsolationError(
                f"a step can't work in {path}: /{place} is this container's own, {reason}", hint=hint
            )
        with left_alone(self.root / resolved, hint=hint):
            yield

    def _reason_against(self, place: str, directory: str) -> str | None:
        if _is_within(place, frozenset(_OWN_FILES)):
            return "not the image's"
        if place in self._hidden:
            return "and the step would not see the files that the image has there"
        return None if (self.root / directory).is_dir() else "and has no such directory"

    def report(self, losses: Sequence[Loss]) -> None:
        """Tell of files of the image that a protected place keeps out, once for each place."""
        for loss in losses:
            place = loss.what.removeprefix(PROTECTED)
            if place == loss.what:
                continue
            self._hidden.add(place)
            if place in self._reported or _is_within(place, frozenset(_OWN_FILES)):
                continue
            self._reported.add(place)
            text = (
                f"the image has /{loss.path}, but /{place} is this container's own: RUN steps don't see "
                "the image's files there, and what they change there is lost"
            )
            self._reporter.report(Note(text, "warning"))

    def _tell_of_volumes(self) -> None:
        volumes = filter(None, map(self._inside, map(Path, read_mount_points())))
        known = frozenset(filter(None, map(self._inside, self._kept)))
        places = sorted(f"/{volume}" for volume in volumes if not _is_within(volume, known))
        if places:
            text = f"volumes of this container, which are no part of the image: {' '.join(places)}"
            self._reporter.report(Note(text))

    def _lend(self) -> "InplaceRoot":
        self._holder = InplaceRoot(self, self.root)
        return self._holder

    def _protect(self) -> Protection:
        here = None if _is_first() else self._inside(self._working_directory)
        # The shell that started this works there, and would not find a new directory of the same name.
        pinned = [here] if here and (self.root / here).is_dir() else []
        return Protection(self._protected_paths(), pinned=pinned)

    def _protected_paths(self) -> Iterator[str]:
        """Paths inside the root; the mounts read anew, since volumes may come and go."""
        for path in (*self._kept, *map(Path, read_mount_points())):
            inside = self._inside(path)
            if inside is not None:
                yield inside

    def _inside(self, path: Path) -> str | None:
        """A path as one inside the root; None for the root itself, and for what lies outside."""
        return str(path.relative_to(self.root)) if self.root in path.parents else None


class InplaceRoot:
    """The shared root in the hands of one stage."""

    def __init__(self, shared: SharedRoot, root: Path) -> None:
        self._shared = shared
        self._root = root
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._protection = shared.protection
        self._view: DirTree | None = None
        self._scan: Scan | None = None
        self.is_displaced = False
        """Whether another stage has taken the directory; then nothing here may be used any more."""

    def child(self, _: Path) -> "InplaceRoot":
        """The same directory, from now on the other stage's."""
        return self._shared.pass_on()

    def tree(self) -> Tree:
        """What the image has there now; valid until the next step."""
        assert not self.is_displaced
        if self._view is None:
            self._view = DirTree(self._root_fd, hides=self._protection.excludes)
        return self._view

    def directory(self) -> Path:
        """Where it lies."""
        return self._root

    def apply(self, apply: Apply) -> None:
        """Write a layer that is known already on top."""
        self._forget()
        apply(self._root)

    def run(self, process: Callable[[Path], None], stubs: Sequence[Stub] = ()) -> list[LayerItem]:
        """Let a process loose on the directory; the result is what it changed, but for what is protected."""
        before = self._scan or self._take(frozenset())
        self._forget()
        self._shared.covered.clear()
        with stubs_in(self._root_fd, stubs):
            process(self._root)
        covered = frozenset(self._shared.covered)
        after = self._take(covered)
        items = self._of_the_image(changes(_without(before, covered), self._root_fd, after))
        for item in items:
            if not name_of(item.entry.path).startswith(WHITEOUT_PREFIX):
                self._protection.describe(item.entry.path)
        if not covered:
            self._scan = after
        return items

    def _of_the_image(self, items: Sequence[LayerItem]) -> list[LayerItem]:
        """Without directories that the image has no part in, but where a step has put something into one."""
        used = {
            str(above)
            for item in items
            if not self._protection.is_ghost(item.entry.path)
            for above in PurePosixPath(item.entry.path).parents
        }
        return [
            item
            for item in items
            if item.entry.path in used or not self._protection.is_ghost(item.entry.path)
        ]

    def close(self) -> None:
        """Close what is open; the directory stays as it is."""
        if not self.is_displaced:
            self._forget()
            os.close(self._root_fd)
            self.is_displaced = True

    def _forget(self) -> None:
        """Let go of what was seen before a change."""
        self._scan = None
        if self._view is not None:
            self._view.close()
            self._view = None

    def _take(self, covered: frozenset[str]) -> Scan:
        leaves_out = self._protection.leaves_out
        return Scan.take(
            self._root_fd,
            exclude=(lambda path: leaves_out(path) or _is_within(path, covered)) if covered else leaves_out,
            hash_content=self._shared.hash_content,
        )


def _without(scan: Scan, covered: frozenset[str]) -> Scan:
    """A scan as if it had left out these paths."""
    if not covered:
        return scan
    directories = {
        directory: {
            name: record for name, record in records.items() if not _is_within(join(directory, name), covered)
        }
        for directory, records in scan.directories.items()
        if not _is_within(directory, covered)
    }
    return Scan(directories, scan.digests, scan.xattrs)


def _is_first() -> bool:
    return os.getpid() == _FIRST_PROCESS


def _is_within(path: str, places: frozenset[str]) -> bool:
    while path and path not in places:
        path = parent_of(path)
    return bool(path)


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
