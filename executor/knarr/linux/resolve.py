"""A path opened inside a root, with symlinks resolved as if that root were `/`.

The root's content is hostile: `/dev -> /` or `/etc/resolv.conf -> ../../../etc/shadow` must not lead
out of it. Magic links (`/proc/PID/root`) are never followed.
"""

import errno
import os

from knarr.linux import syscalls

_MAX_SYMLINKS = 40
_NO_OPENAT2 = (errno.ENOSYS, errno.EPERM)  # an old kernel; a seccomp profile older than the call


def open_in_root(root: int, path: str, flags: int = os.O_PATH) -> int:
    """A descriptor of what `path` names inside the directory `root`; the caller closes it.

    Raises OSError as open(2) does: ENOENT where nothing is there, ELOOP for a loop or a magic link.
    """
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    try:
        return syscalls.openat2(root, path, flags, resolve)
    except OSError as error:
        if error.errno not in _NO_OPENAT2:
            raise
    return walk_in_root(root, path, flags)


def walk_in_root(root: int, path: str, flags: int = os.O_PATH) -> int:
    """What `open_in_root` does, one component at a time, for kernels without openat2.

    Nothing else may change the root meanwhile; a magic link reads as an ordinary, usually dangling one.
    """
    # The stack of directories from the root down: `..` pops it, so it cannot pass the root.
    stack = [os.dup(root)]
    pending = _components(path)
    links = 0
    try:
        while pending:
            name = pending.pop()
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            target = _link_target(opened)
            if target is None:
                stack.append(opened)
                continue
            os.close(opened)
            links += 1
            if links > _MAX_SYMLINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            pending.extend(_components(target))
        return os.open(f"/proc/self/fd/{stack[-1]}", flags | os.O_CLOEXEC)
    finally:
        for descriptor in stack:
            os.close(descriptor)


def open_entry_in_root(root: int, path: str) -> int:
    """A descriptor of the entry `path` itself, a symlink included; only its parent is resolved."""
    parent, _, name = path.rstrip("/").rpartition("/")
    directory = open_in_root(root, parent or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def _components(path: str) -> list[str]:
    """The parts of a path, last first, so that `pop` gives the next."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _link_target(opened: int) -> str | None:
    try:
        return os.readlink("", dir_fd=opened)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):  # what readlinkat says of anything but a link
            return None
        raise
