"""A directory that is of no more use, removed."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from knarr.rootfs.paths import remove_tree


def discard_tree(path: Path) -> None:
    """Remove a directory with all in it, of any depth; what can't be removed stays, and nothing is raised.

    It may hold what an image or a step made, more directories in each other than `shutil` takes.
    """
    with suppress(OSError):
        parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(parent, path.name)
        finally:
            os.close(parent)
    if os.path.lexists(path):
        with suppress(RecursionError):  # past what stands in the way, as far as it goes
            shutil.rmtree(path, ignore_errors=True)
