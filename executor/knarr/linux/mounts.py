"""Mounts of this process: flags added to one, the table of all (mount(2), proc(5)).

Loaded by the small interpreter that starts each RUN step: see `linux.syscalls` for what that forbids.
"""

import errno
import os

from knarr.linux import syscalls as sc

# statvfs(3) flags and the mount flags that they stand for.
_STATVFS_FLAGS = (
    (os.ST_RDONLY, sc.MS_RDONLY),
    (os.ST_NOSUID, sc.MS_NOSUID),
    (os.ST_NODEV, sc.MS_NODEV),
    (os.ST_NOEXEC, sc.MS_NOEXEC),
    (os.ST_NOATIME, sc.MS_NOATIME),
    (os.ST_NODIRATIME, sc.MS_NODIRATIME),
    (os.ST_RELATIME, sc.MS_RELATIME),
)
# What the kernel writes in octal in a path of mountinfo; the backslash is undone last.
_ESCAPES = ((rb"\040", b" "), (rb"\011", b"\t"), (rb"\012", b"\n"), (rb"\134", b"\\"))


def descriptor_path(descriptor: int) -> str:
    """A path that names an open file by its descriptor, whatever its real path is now."""
    return f"/proc/self/fd/{descriptor}"


def add_mount_flags(path: str, flags: int, *, without: int = 0) -> None:
    """Add MS_* flags to the mount at `path`, keeping those it has; takes `without` off where it may.

    Raises OSError.

    A user namespace may not clear the flags of a mount that came from outside: leaving one out is EPERM.
    """
    present = os.statvfs(path).f_flag
    kept = sum(mount_flag for statvfs_flag, mount_flag in _STATVFS_FLAGS if present & statvfs_flag)
    if kept & without:
        try:
            sc.mount("none", path, None, sc.MS_REMOUNT | sc.MS_BIND | kept & ~without | flags)
            return
        except PermissionError:
            pass
    sc.mount("none", path, None, sc.MS_REMOUNT | sc.MS_BIND | kept | flags)


def make_readonly(descriptor: int) -> None:
    """Make the mount at a descriptor read-only, with those below it where the kernel can. Raises OSError.

    Before Linux 5.12, and where a seccomp profile is older than the call, those below stay writable.
    """
    try:
        sc.mount_setattr_recursive(descriptor, sc.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        add_mount_flags(descriptor_path(descriptor), sc.MS_RDONLY)


def read_mount_points() -> frozenset[str]:
    """The absolute paths of all mount points but `/`, as they are now."""
    with open("/proc/self/mountinfo", "rb") as stream:
        return parse_mount_points(stream.read())


def parse_mount_points(mountinfo: bytes) -> frozenset[str]:
    """Field 5 of every line, where space, tab, newline and backslash are octal."""
    lines = (line.split(b" ") for line in mountinfo.splitlines())
    paths = (_unescape(fields[4]) for fields in lines if len(fields) > 4)
    return frozenset(path.decode(errors="surrogateescape") for path in paths if path != b"/")


def _unescape(path: bytes) -> bytes:
    for escape, character in _ESCAPES:
        path = path.replace(escape, character)
    return path
