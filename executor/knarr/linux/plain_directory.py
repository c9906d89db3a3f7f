"""Directories that have nothing of where they lie: no ACL, setgid bit or group of a parent, no umask."""

import errno
import os
import stat
from pathlib import Path

_ACLS = ("system.posix_acl_default", "system.posix_acl_access")
_HAS_NONE = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES})
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_plain_directory(path: Path, mode: int = 0o755, *, exist_ok: bool = False) -> None:
    """Make a directory of exactly this mode in our own group, as `make_plain` has it. Raises OSError.

    One that is there already, which `exist_ok` allows, is left as it is.
    """
    try:
        path.mkdir(0o700)
    except FileExistsError:
        if not exist_ok:
            raise
        return
    descriptor = os.open(path, _LISTED)
    try:
        make_plain(descriptor, mode)
    finally:
        os.close(descriptor)


def make_plain(descriptor: int, mode: int) -> None:
    """Take from a new directory of ours what it has from its parent, then give it its mode. Raises OSError.

    What is made in it gets nothing of that either.
    """
    for name in _ACLS:
        try:
            os.removexattr(descriptor, name)
        except OSError as error:
            if error.errno not in _HAS_NONE:
                raise
    found = os.fstat(descriptor)
    if found.st_gid != os.getegid():
        os.fchown(descriptor, -1, os.getegid())
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(descriptor, mode)
