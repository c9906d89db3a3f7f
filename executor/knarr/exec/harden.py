"""The executor's memory closed to the steps it runs."""

import resource

from knarr.linux import syscalls as sc


def harden() -> None:
    """Make this process's memory, environment and descriptors unreadable to others; forbid core files.

    After `namespaces.enter`: this also closes the process's own /proc files to it, its id maps among them.
    """
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
