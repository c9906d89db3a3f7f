"""What goes wrong with the paths of a layer, in words."""

import errno
import os

from knarr.errors import CorruptError, IsolationError, KnarrError, OutputError
from knarr.layers.entry import Entry
from knarr.layers.paths import join
from knarr.layers.tar.names import MAX_PATH_BYTES

_BAD_PATH = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EILSEQ})


def joined(directory: str, name: str) -> str:
    """The path after links, which can be longer than any that has none; raises OSError for such a one."""
    path = join(directory, name)
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return path


def missing_target(entry: Entry) -> CorruptError:
    """A hard link to what no layer has."""
    return CorruptError(f"a layer has a hard link to nothing: {entry.path} to {entry.link_target}")


def unpacking_error(error: OSError, path: str) -> KnarrError:
    """The error that the kernel gave at a path, by what it means for the layer."""
    message = f"unpacking {path}: {error.strerror}"
    if error.errno in _BAD_PATH:
        return CorruptError(message, hint="the layer has a path that no container could use")
    if isinstance(error, PermissionError):
        return IsolationError(message, hint="run as root or in a user namespace")
    return OutputError(message, hint="KNARR_DIR names a directory on a disk with room for the image")
