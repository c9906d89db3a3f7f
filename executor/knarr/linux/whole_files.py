"""Files that appear whole or not at all, wherever their path leads."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from knarr.errors import OutputError

_DESCRIPTORS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")
_CANT_REPLACE = frozenset({errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.ETXTBSY})
_COPY_BYTES = 1024 * 1024
STDOUT = 1


def check_place(flag: str, path: Path, *, directory: bool = False) -> None:
    """Find out before the work whether a file, or a `directory`, may be written at a path.

    Directories that are missing are made later, but the one that is there must let us. Raises OutputError.
    """
    if descriptor_of(path) is not None:
        return
    with os_errors(f"looking at {flag} {path}"):
        if not directory and path.is_dir():
            raise OutputError(f"{flag}: {path} is a directory", hint="name a file in it")
        parent = next(each for each in path.parents if os.path.lexists(each))
        if not parent.is_dir():
            raise OutputError(
                f"{flag} {path}: {parent} is not a directory", hint="name a file in a directory"
            )
        if not os.access(parent, os.W_OK | os.X_OK) and not path.exists():
            raise OutputError(
                f"{flag} {path}: {parent} is not writable",
                hint="check its owner, and whether it is mounted read-only",
            )


def descriptor_of(path: Path) -> int | None:
    """The descriptor of this process that a path such as /dev/stdout means; None for a path in a tree."""
    text = str(path)
    numbered = _NUMBERED.fullmatch(text)
    return int(numbered[1]) if numbered else _DESCRIPTORS.get(text)


def write_file(path: Path, data: bytes) -> None:
    """Write a file in one step, as `writing` does. Raises OSError."""
    with writing(path) as file:
        file.write(data)


def append_to_file(path: Path, data: bytes) -> None:
    """Add to the end of a file, all or nothing; it is made where it is missing. Raises OSError."""
    descriptor = descriptor_of(path)
    if descriptor is not None:
        _write_all(descriptor, data)
        return
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(file).st_size
        try:
            _write_all(file, data)
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """What is written to the file becomes the path's content when the block ends well; it can't be sought.

    A regular file is replaced by one of the same mode, where a symlink leads; it is as it was when the block
    raises. What can't be replaced, or must not be, is written to as it stands: a device, a pipe, a
    descriptor of this process, a file that is mounted by itself (/dev/termination-log), or one in a
    directory that is not ours. Missing directories are made. Raises OSError.
    """
    descriptor = descriptor_of(path)
    if descriptor is not None:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            yield file
        return
    if path.exists() and not path.is_file():
        with _opened(path) as file:
            yield file
        return
    target = Path(os.path.realpath(path))  # of a symlink the file is replaced, not the link
    new = _new_file_beside(target)
    if new is None:
        with _opened(target) as file:
            yield file
        return
    try:
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), target.stat().st_mode & 0o777 if target.is_file() else 0o644)
            os.fsync(file.fileno())
        _take_place(new, target)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def os_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that says what was done."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{doing} failed: {error.strerror}", hint="check that its directory is writable and has room"
        ) from error


def _new_file_beside(target: Path) -> Path | None:
    """An empty file to take the target's place; None where only the target can be written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        if error.errno not in _CANT_REPLACE or not target.is_file():
            raise
        return None
    os.close(descriptor)
    return Path(name)


def _take_place(new: Path, target: Path) -> None:
    try:
        os.replace(new, target)
    except OSError as error:
        if error.errno not in _CANT_REPLACE or not target.is_file():
            raise
        with new.open("rb") as source, _opened(target) as file:
            shutil.copyfileobj(source, file, _COPY_BYTES)


def _opened(path: Path) -> BinaryIO:
    # Without O_CREAT: that is refused for another's pipe in /tmp (fs.protected_fifos).
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC), "wb")


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
