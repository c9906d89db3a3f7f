"""Empty volumes of the container that are an image's place for the length of a build, then empty again."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from knarr.layers.paths import join
from knarr.linux.plain_directory import make_plain
from knarr.rootfs.paths import IMPLICIT_MODE, Fate, clear_directory
from knarr.rootfs.unpacking.protection import Refused

_MARK = "user.knarr.lent"
"""On a volume's directory while it is lent: who finds it there knows that a build was killed."""
_ACLS = ("system.posix_acl_default", "system.posix_acl_access")
_LOST_AND_FOUND = "lost+found"
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a directory looked like before."""

    status: os.stat_result
    acls: Mapping[str, bytes]

    @classmethod
    def of(cls, descriptor: int) -> "_Seen":
        acls = {}
        for name in _ACLS:
            with suppress(OSError):
                acls[name] = os.getxattr(descriptor, name)
        return cls(os.fstat(descriptor), acls)

    def put_back(self, descriptor: int) -> None:
        os.fchown(descriptor, self.status.st_uid, self.status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(self.status.st_mode))
        for name, value in self.acls.items():
            os.setxattr(descriptor, name, value)
        os.utime(descriptor, ns=(self.status.st_atime_ns, self.status.st_mtime_ns))


@dataclass(slots=True)
class _Lent:
    """A volume in use: what stays in it, the directories above that with their looks; "" is the volume."""

    descriptor: int
    kept: set[str] = field(default_factory=set)
    above: dict[str, _Seen] = field(default_factory=dict)

    def fate(self, path: str) -> Fate:
        if path in self.kept:
            return Fate.KEEP
        return Fate.DESCEND if path in self.above else Fate.REMOVE


class LentVolumes:
    """The volumes of one root directory that are lent now."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lent: dict[str, _Lent] = {}

    def __bool__(self) -> bool:
        return bool(self._lent)

    def lend(self, place: str, protected: frozenset[str], made: frozenset[str]) -> frozenset[str] | Refused:
        """Make a volume a new directory of the image's, if nothing is in it but what stays.

        The result is what stays: the `protected` paths in it, where further volumes are mounted, and what the
        platform keeps in a volume. `made` are there for the step that begins, and go with it. A volume that
        is refused is as it was.
        """
        path = self._root / place
        if path.is_symlink() or not path.is_dir() or not os.access(path, os.W_OK):
            return Refused("it can't be written to")
        lent = _Lent(os.open(path, _LISTED))
        try:
            refused = _look(lent, place, protected, made)
            if refused is None:
                _take(lent.descriptor)
        except OSError as error:
            refused = Refused(f"it can't be used: {error.strerror}")
        if refused is not None:
            os.close(lent.descriptor)
            return refused
        self._lent[place] = lent
        return frozenset(join(place, each) for each in lent.kept)

    def give_back(self) -> Iterator[str]:
        """Empty all volumes that are lent, each as it was before; what could not be done comes as text."""
        while self._lent:
            place, lent = self._lent.popitem()
            try:
                _empty(lent)
            except OSError as error:
                yield f"the volume at /{place} is not empty again: {error.filename}: {error.strerror}"
            finally:
                os.close(lent.descriptor)


def _look(lent: _Lent, place: str, protected: frozenset[str], made: frozenset[str]) -> Refused | None:
    """Find out what stays in a volume; the refusal of one that holds other things."""
    if _MARK in os.listxattr(lent.descriptor):
        return Refused("a build that was killed has left files in it", is_left_over=True)
    others: list[str] = []
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        descriptor = os.open(directory or ".", _LISTED, dir_fd=lent.descriptor)
        try:
            lent.above[directory] = _Seen.of(descriptor)
            names = sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)
        for name in names:
            path = join(directory, name)
            full = join(place, path)
            if full in protected:
                lent.kept.add(path)
            elif any(each.startswith(f"{full}/") for each in protected):
                waiting.append(path)
            elif not directory and _is_the_platforms(lent.descriptor, name):
                lent.kept.add(path)
            elif full not in made:
                others.append(path)
    if not others:
        return None
    more = len(others) - _MOST_NAMES
    names_text = ", ".join(others[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return Refused(f"it holds {names_text}")


def _is_the_platforms(volume: int, name: str) -> bool:
    """A file system's own directory, or what Kubernetes writes a volume's content by (`..data`)."""
    if name == _LOST_AND_FOUND:
        descriptor = os.open(name, _LISTED, dir_fd=volume)
        try:
            return not os.listdir(descriptor)
        finally:
            os.close(descriptor)
    return name.startswith("..")


def _take(volume: int) -> None:
    """Give an empty volume the looks of a directory that nothing describes."""
    os.fchown(volume, 0, 0)
    make_plain(volume, IMPLICIT_MODE)
    with suppress(OSError):  # a tmpfs before Linux 6.6 has no such attributes
        os.setxattr(volume, _MARK, b"1")


def _empty(lent: _Lent) -> None:
    clear_directory(lent.descriptor, "", lent.fate)
    for path, seen in sorted(lent.above.items(), reverse=True):
        descriptor = os.open(path or ".", _LISTED, dir_fd=lent.descriptor)
        try:
            seen.put_back(descriptor)
        finally:
            os.close(descriptor)
    with suppress(OSError):
        os.removexattr(lent.descriptor, _MARK)
