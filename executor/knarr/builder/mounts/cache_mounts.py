"""The directories behind `RUN --mount=type=cache`."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from knarr.dockerfile.language.mount import Mount, Sharing
from knarr.errors import OutputError
from knarr.linux.plain_directory import make_plain_directory
from knarr.progress import Note, Reporter
from knarr.rootfs.paths import remove_tree

Fill = Callable[[Path], None]

_MAX_PRIVATE = 1000


class CacheMounts:
    """Caches by id below one directory, shared with whoever else is given that directory.

    A cache is a directory named by the SHA-256 of its id, so that no id leads anywhere else, with the
    content in `data`. Builds lock `lock` for as long as a step runs: shared caches together, locked and
    private ones alone; a private one that is taken has siblings, `-1`, `-2` and so on. Without `can_share`
    nothing is used together: a directory that is moved into a step's place can be in one place only.
    """

    def __init__(self, root: Path, namespace: str, reporter: Reporter, *, can_share: bool = True) -> None:
        self._root = root
        self._can_share = can_share
        self._namespace = namespace
        self._reporter = reporter

    def name(self, mount: Mount) -> str:
        """The name of a mount's directory; equal names are the same cache."""
        return hashlib.sha256(f"{self._namespace}\0{mount.id}".encode(errors="surrogateescape")).hexdigest()

    @contextmanager
    def open(self, mount: Mount, fill: Fill) -> Iterator[Path]:
        """The cache's directory, this build's to use until the block ends.

        A new one is made by `fill`, all or nothing. Raises OutputError where the directory is of no use.
        """
        with ExitStack() as exits:
            try:
                directory = self._lock(mount, exits)
                self._fill(directory, fill)
            except OSError as error:
                raise OutputError(
                    f"can't use the cache mount {mount.id} in {self._root}: {error.strerror}",
                    hint="--mount-cache-dir names a directory that knarr may write to and lock files in",
                ) from error
            yield directory / "data"

    def _lock(self, mount: Mount, exits: ExitStack) -> Path:
        name = self.name(mount)
        if mount.sharing is not Sharing.PRIVATE:
            together = mount.sharing is Sharing.SHARED and self._can_share
            operation = fcntl.LOCK_SH if together else fcntl.LOCK_EX
            directory, lock = self._open_lock(name, exits)
            if not _try_lock(lock, operation):
                self._reporter.report(Note(f"waiting for the cache {mount.id}, which another build uses"))
                fcntl.flock(lock, operation)
            return directory
        for number in range(_MAX_PRIVATE):
            directory, lock = self._open_lock(f"{name}-{number}" if number else name, exits)
            if _try_lock(lock, fcntl.LOCK_EX):
                return directory
        raise OutputError(f"the private cache {mount.id} is used by {_MAX_PRIVATE} builds at once")

    def _open_lock(self, name: str, exits: ExitStack) -> tuple[Path, int]:
        directory = self._root / name
        self._root.mkdir(parents=True, exist_ok=True)
        make_plain_directory(directory, 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(directory / "lock", flags, 0o600)
        exits.callback(os.close, descriptor)
        return directory, descriptor

    def _fill(self, directory: Path, fill: Fill) -> None:
        if (directory / "data").is_dir():
            return
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # those who share it fill it once
            if (directory / "data").is_dir():
                return
            with suppress(FileNotFoundError):
                remove_tree(descriptor, "new")
            fill(directory / "new")
            os.rename("new", "data", src_dir_fd=descriptor, dst_dir_fd=descriptor)
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
