"""Files of a root directory opened at exactly their path: a symbolic link in it counts as nothing there."""

import errno
import os
import stat
from typing import BinaryIO

from knarr.errors import ContextError
from knarr.linux.resolve import open_in_root

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


def open_directory(root_fd: int, path: str, *, readable: bool = False) -> int | None:
    """A descriptor of the directory at exactly this path; None where there is none.

    A symlink anywhere in the path counts as none. Without `readable` the descriptor is only to look names
    up from. The caller closes it. Raises ContextError where it may not be opened.
    """
    flags = os.O_DIRECTORY | (os.O_RDONLY if readable else os.O_PATH)
    try:
        return open_in_root(root_fd, path, flags, follow_links=False)
    except ValueError:  # a NUL, which no name has
        return None
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise ContextError(f"opening the directory /{path}: {error.strerror}") from error


def open_regular(root_fd: int, path: str) -> BinaryIO:
    """The regular file at exactly this path, open for reading; the caller closes it.

    Raises ContextError for anything else, and where a symlink is in the path. A FIFO or device that took the
    file's place in the meantime does not block, and is not read.
    """
    # O_PATH first: opening a device can do something to it already.
    try:
        found = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW, follow_links=False)
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise ContextError(f"opening /{path}: it is no regular file (any more)")
            fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        finally:
            os.close(found)
    except OSError as error:
        raise ContextError(f"opening /{path}: {error.strerror}") from error
    return os.fdopen(fd, "rb")
