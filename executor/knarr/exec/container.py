"""Whether this process is in a container, or has a machine to itself."""

import os

_INITIAL = {"pid": 0xEFFFFFFC, "ipc": 0xEFFFFFFF, "uts": 0xEFFFFFFE, "cgroup": 0xEFFFFFFB}
"""The inodes of the namespaces that the kernel starts with (Linux, include/linux/proc_ns.h)."""


def in_container() -> bool:
    """Whether any namespace of this process is not the machine's own."""
    return any(_inode(name) not in (number, None) for name, number in _INITIAL.items())


def _inode(name: str) -> int | None:
    try:
        return os.stat(f"/proc/self/ns/{name}").st_ino
    except OSError:
        return None  # a kernel without these
