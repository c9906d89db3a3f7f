"""Mount points that a RUN step needs where the image has none: made before it, gone without a trace after."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from knarr.exec.mounts import STUB_PATHS
from knarr.rootfs.paths import open_parent


def make_stub_directory(path: Path) -> None:
    """Make a directory with the mount points alone, to lie below all others of an overlay."""
    path.mkdir(mode=0o755)
    for name, mode in STUB_PATHS:
        if stat.S_ISDIR(mode):
            (path / name).mkdir(mode=0o755)
        else:
            (path / name).touch(mode=0o644)


@contextmanager
def stubs_in(root_fd: int) -> Iterator[None]:
    """Add what is missing to a plain directory; afterwards remove what is still as it was made.

    Times of the directories that they lie in come back, so that a scan sees no difference.
    """
    made: list[tuple[str, int]] = []
    try:
        for name, mode in STUB_PATHS:
            if _make(root_fd, name, mode):
                made.append((name, mode))
        yield
    finally:
        for name, mode in reversed(made):
            with suppress(OSError):
                _remove(root_fd, name, mode)


def _make(root_fd: int, path: str, mode: int) -> bool:
    try:
        with _parent(root_fd, path) as (directory, name):
            if stat.S_ISDIR(mode):
                os.mkdir(name, stat.S_IMODE(mode), dir_fd=directory)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, stat.S_IMODE(mode), dir_fd=directory))
    except OSError:
        return False  # it is there, in whatever form, or can't be: the step does without
    return True


def _remove(root_fd: int, path: str, mode: int) -> None:
    with _parent(root_fd, path) as (directory, name):
        if stat.S_ISDIR(mode):
            os.rmdir(name, dir_fd=directory)
        elif os.stat(name, dir_fd=directory, follow_symlinks=False).st_size == 0:
            os.unlink(name, dir_fd=directory)


@contextmanager
def _parent(root_fd: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory that holds a path inside the root, with its times put back at the end."""
    directory, name = open_parent(root_fd, path)
    try:
        before = os.fstat(directory)
        yield directory, name
        os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=directory)
    finally:
        os.close(directory)
