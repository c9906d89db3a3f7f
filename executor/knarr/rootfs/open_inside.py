"""Files of a root directory opened without a way out of it."""

import errno
import os
import stat
from typing import BinaryIO

from knarr.errors import ContextError
from knarr.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS


def open_directory(root_fd: int, path: str, *, readable: bool = False) -> int | None:
    """A descriptor of the directory at exactly this path; None where there is none.

    A symlink anywhere in the path counts as none. Without `readable` the descriptor is only to look names
    up from. The caller closes it. Raises ContextError where it may not be opened.
    """
    flags = os.O_DIRECTORY | os.O_CLOEXEC | (os.O_RDONLY if readable else os.O_PATH)
    try:
        return _open(root_fd, path or ".", flags)
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
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        found = _open(root_fd, path, flags)
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise ContextError(f"opening /{path}: it is no regular file (any more)")
            fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        finally:
            os.close(found)
    except OSError as error:
        raise ContextError(f"opening /{path}: {error.strerror}") from error
    return os.fdopen(fd, "rb")


def _open(root_fd: int, path: str, flags: int) -> int:
    try:
        return openat2(root_fd, path, flags, _RESOLVE)
    except OSError as error:
        # Before Linux 5.6, in gVisor, and where a seccomp profile is older than the call.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return _open_by_steps(root_fd, path, flags)


def _open_by_steps(root_fd: int, path: str, flags: int) -> int:
    """The same, a component at a time, each refused where it is a symlink."""
    directory, _, name = path.rpartition("/")
    at = root_fd
    try:
        for step in directory.split("/") if directory else ():
            opened = os.open(step, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            if at != root_fd:
                os.close(at)
            at = opened
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=at)
    finally:
        if at != root_fd:
            os.close(at)
