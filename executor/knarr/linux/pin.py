"""Mounts in the executor's own namespace that hold a step's sources until the step has bound them.

A path that an image or a context had a say in is resolved once, inside its root, and held by a bind mount:
what happens to its symlinks afterwards has no effect.
"""

import errno
import os
import stat
from pathlib import Path

from knarr.linux import syscalls as sc
from knarr.linux.mounts import add_mount_flags, descriptor_path
from knarr.linux.resolve import open_in_root


def pin(directory: Path, path: str, place: Path) -> None:
    """Bind what `path` names inside `directory` read-only at `place`, which is made.

    `overlay.unmount` lets go of it. The last component is followed too, never out of the directory. Raises
    OSError, ENOENT where nothing is there; nothing is mounted then.
    """
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = open_in_root(root, path.strip("/") or ".")
    finally:
        os.close(root)
    try:
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            place.mkdir()
        else:
            place.touch(exist_ok=False)
        _bind_readonly(descriptor_path(opened), str(place))
    finally:
        os.close(opened)


def mount_memory(place: Path) -> None:
    """Mount a tmpfs at `place`, which is made; raises OSError."""
    place.mkdir()
    sc.mount("tmpfs", str(place), "tmpfs", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC, "mode=711")


def _bind_readonly(source: str, place: str) -> None:
    """Bind with all that is mounted below; read-only, so that whoever clears `place` harms nothing."""
    sc.mount(source, place, None, sc.MS_BIND | sc.MS_REC)
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
        try:
            sc.mount_setattr_recursive(descriptor, sc.MOUNT_ATTR_RDONLY)
        finally:
            os.close(descriptor)
        return
    except OSError as error:
        sc.umount(place, sc.MNT_DETACH)
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    # Before Linux 5.12, or where a seccomp profile is older than the call: without what is mounted below.
    sc.mount(source, place, None, sc.MS_BIND)
    try:
        add_mount_flags(place, sc.MS_RDONLY)
    except OSError:
        sc.umount(place, sc.MNT_DETACH)
        raise
