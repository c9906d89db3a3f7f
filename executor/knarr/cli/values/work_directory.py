"""The directory that a build works in."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.errors import OutputError
from knarr.exec.bundle import runs_from_image
from knarr.linux.mounts import read_mount_points
from knarr.linux.plain_directory import make_plain
from knarr.rootfs.paths import discard_tree

_FIRST_PROCESS = 1
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def open_work_directory(parent: Path) -> Iterator[Path]:
    """A new directory in `parent`, gone when the block ends, or with the container that ends then.

    Raises OutputError for a disk without room.
    """
    try:
        path = Path(tempfile.mkdtemp(prefix="knarr-", dir=parent))
        _keep_apart(path)
    except OSError as error:
        raise OutputError(
            f"can't make a work directory in {parent}: {error.strerror}",
            hint="KNARR_DIR names a directory on a disk with room, not on an overlay",
        ) from error
    try:
        yield path
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OutputError(
            f"the work directory {path} can't hold the build: {error.strerror}",
            hint="KNARR_DIR names a directory on a disk with room",
        ) from error
    finally:
        if not _goes_with_container(path):
            for _ in range(2):  # a transfer that was given up may put one more file there
                discard_tree(path)


def _goes_with_container(path: Path) -> bool:
    """Whether nothing is left of a directory when this process ends: it is all that a container is there for.

    What is mounted in a container outlives it.
    """
    if os.getpid() != _FIRST_PROCESS or not runs_from_image():
        return False
    above = {str(each) for each in Path(os.path.realpath(path)).parents}
    return above.isdisjoint(read_mount_points())


def _keep_apart(path: Path) -> None:
    """See that what is made in a directory gets no group, ACL or setgid bit of where that lies."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_plain(descriptor, 0o700)
    finally:
        os.close(descriptor)
