"""A directory of OCI image layouts, each under a name of its own."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from knarr.errors import CorruptError, OutputError
from knarr.images.layout import OciLayout
from knarr.linux.syscalls import exchange

_T = TypeVar("_T")

_NEW = ".new-"
_ABANDONED_S = 3600.0
_IN_THE_WAY = frozenset({errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY})
_NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})
_TRIES = 10


class LayoutDirectory:
    """Any number of processes may read and replace its layouts at once.

    A layout is there whole or not at all. Of two that replace the same one at once, one comes last.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str, use: Callable[[OciLayout], _T]) -> _T | None:
        """What `use` makes of a layout; None where there is none of that name.

        `use` is called anew where the layout was replaced meanwhile. Raises what it raises, OSError,
        CorruptError for something else than a directory.
        """
        path = self.root / name
        for _ in range(_TRIES):
            found = _identity(path)
            if found is None:
                return None
            try:
                if not path.is_dir():
                    raise CorruptError("not a directory")
                return use(OciLayout(path, durable=True))
            except (CorruptError, OutputError, OSError):
                if _identity(path) == found:
                    raise
        return None

    @contextmanager
    def replacing(self, name: str) -> Iterator[OciLayout]:
        """A new layout, which takes the name's place when the block ends well.

        The directory is made where it is missing. What was there before still is where the block raises.
        Raises OSError, OutputError.
        """
        with self.scratch() as place:
            with OciLayout.open(place) as layout:
                yield layout
            os.chmod(place, 0o755)
            os.utime(place)
            _take_place(place, self.root / name)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An own directory in this one, gone after the block."""
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.root))
        try:
            self._remove_abandoned(now_s=place.stat().st_mtime)
            yield place
        finally:
            _remove(place)

    def _remove_abandoned(self, *, now_s: float) -> None:
        """Remove what writers that were killed have left behind; `now_s` is by the file system's clock."""
        for path in self.root.glob(f"{_NEW}*"):
            with suppress(OSError):
                # Between its making and its lock a new one is not locked: so it is left for a while.
                if now_s - path.stat().st_mtime > _ABANDONED_S and _is_unlocked(path):
                    _remove(path)


def _is_unlocked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
    return True


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _take_place(made: Path, target: Path) -> None:
    """Put a directory where another is, in one step as far as the file system has that.

    The other, if any, is where this one was afterwards, or gone. Raises OSError.
    """
    for _ in range(_TRIES):
        try:
            made.rename(target)
            return
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
        try:
            exchange(str(made), str(target))
            return
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
        old = made.with_name(f"{made.name}-old")
        with suppress(FileNotFoundError):
            target.rename(old)
            _remove(old)
    # Others were faster each time: what they have put there is as new as this.


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
