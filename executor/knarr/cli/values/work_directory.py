"""The directory that a build works in."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.errors import OutputError
from knarr.linux.plain_directory import make_plain
from knarr.rootfs.paths import discard_tree

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def open_work_directory(parent: Path) -> Iterator[Path]:
    """A new directory in `parent`, gone when the block ends. Raises OutputError for a disk without room."""
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
        for _ in range(2):  # a transfer that was given up may put one more file there
            discard_tree(path)


def _keep_apart(path: Path) -> None:
    """See that what is made in a directory gets no group, ACL or setgid bit of where that lies."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_plain(descriptor, 0o700)
    finally:
        os.close(descriptor)
