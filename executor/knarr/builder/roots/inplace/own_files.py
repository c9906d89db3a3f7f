"""The files that a container came with: kept in an archive while others are in their place."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from knarr.errors import KnarrError, OutputError
from knarr.layers.paths import clean
from knarr.layers.read import open_layer
from knarr.layers.tar.read import TarReader
from knarr.layers.write import write_layer
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.paths import IMPLICIT_MODE, clear_directory
from knarr.rootfs.unpacking.protection import Protection
from knarr.rootfs.unpacking.unpack import OwnerPolicy, apply_layer

_NOTHING = Scan({}, {}, {})


def save(root: Path, protection: Protection, directory: Path) -> BinaryIO:
    """Write all that is not protected to an archive that the caller closes. Raises OutputError, ContextError.

    It has no name: the container's files may hold credentials, and steps can read what lies in `directory`.
    """
    with ExitStack() as exits:
        try:
            archive = exits.enter_context(TemporaryFile(dir=directory))
            with open_root(root) as root_fd:
                scan = Scan.take(root_fd, exclude=protection.covers)
                write_layer(changes(_NOTHING, root_fd, scan), archive)
        except OSError as error:
            raise OutputError(
                f"can't keep the container's own files in {directory}: {error.strerror}"
            ) from error
        exits.pop_all()
    return archive


def put_back(root: Path, protection: Protection, archive: BinaryIO, metadata: os.stat_result) -> None:
    """Replace what is there by the archive's content, the root's own metadata by `metadata`.

    Raises KnarrError; then some of it may be missing.
    """
    empty(root, protection)
    try:
        archive.seek(0)
        with open_root(root) as root_fd, open_layer(archive) as reader:
            apply_layer(root_fd, TarReader(reader), owner_policy=OwnerPolicy.KEEP, protected=protection)
            os.fchown(root_fd, metadata.st_uid, metadata.st_gid)
            os.fchmod(root_fd, stat.S_IMODE(metadata.st_mode))
            os.utime(root_fd, ns=(metadata.st_atime_ns, metadata.st_mtime_ns))
    except OSError as error:
        raise OutputError(f"can't read the container's own files: {error.strerror}") from error


def empty(root: Path, protection: Protection) -> None:
    """Remove all that is not protected; the root's own metadata becomes a new one's. Raises OutputError."""
    try:
        with open_root(root) as root_fd:
            clear_directory(root_fd, "", protection.fate)
            os.fchown(root_fd, 0, 0)
            os.fchmod(root_fd, IMPLICIT_MODE)
    except OSError as error:
        name = os.fsdecode(error.filename or "")
        raise OutputError(
            f"can't empty the container's root file system: {name}: {error.strerror}",
            hint="is something mounted there since the build began, or the root read-only?",
        ) from error


@contextmanager
def open_root(root: Path) -> Iterator[int]:
    """A descriptor of the directory, for the length of a block."""
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield root_fd
    finally:
        os.close(root_fd)


def resolve_inside(root: Path, path: str) -> str:
    """A path with its symlinks followed inside the root, as entries of layers have it."""
    with open_root(root) as root_fd, DirTree(root_fd) as tree:
        return tree.resolve(clean(path))


def describe_failure(error: KnarrError) -> str:
    """What to say when the files could not be put back, after a build whose result stands."""
    return f"the container's own files are not back: {error.message}; start a new one"
