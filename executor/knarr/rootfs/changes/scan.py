"""A scan of a root directory, and the changes between two of them.

A file is a candidate when its inode number or its ctime differs from the scan before: the kernel sets
ctime at every change, and no process can set it back. Content is read only where ctime can't tell: on a
file system with ctimes in whole seconds, and for files changed in the clock tick of the scan itself.
"""

import ctypes
import hashlib
import os
import stat
import struct
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from knarr.layers.entry import WHITEOUT_PREFIX, Entry, Kind, LayerItem
from knarr.layers.paths import join, name_of, parent_of, sort_key
from knarr.rootfs.inode import HardLinks, describe, layer_xattrs, read_xattrs, stat_name
from knarr.rootfs.open_inside import open_directory, open_regular

Exclude = Callable[[str], bool]

_SECOND_NS = 1_000_000_000
_CLOCK_REALTIME_COARSE = 5
"""Linux's number of the clock that stamps files; `time` has no name for it."""
_LONGEST_TICK_S = 0.011
"""A clock tick is 1 to 10 ms; kernels before 6.13 stamp a file with the time of the last one."""
_CHUNK_BYTES = 1024 * 1024


class _Record(NamedTuple):
    """What is kept of an entry."""

    inode: int
    ctime_ns: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int


_PACKED = struct.Struct("<QqIIIqq")


@dataclass(frozen=True, slots=True)
class Scan:
    """The state of a root directory at one moment."""

    directories: dict[str, dict[str, bytes]]
    """By directory, the packed record of each name in it."""
    digests: dict[str, bytes]
    """SHA-256 of the files that ctime can't vouch for."""
    xattrs: dict[str, dict[str, bytes]]
    """Extended attributes of the directories that have some."""

    @classmethod
    def take(
        cls,
        root_fd: int,
        *,
        exclude: Exclude | None = None,
        hash_content: bool = False,
        enters: Collection[str] = (),
    ) -> "Scan":
        """Record all that is below `root_fd`, mount points as empty directories but for those it `enters`.

        Writes dirty pages first, since a page written through a shared mapping is invisible to stat.
        `exclude` drops a path with all that is in it; `hash_content` reads every file. Returns after the
        clock tick of the newest ctime seen, so that a later change is told from it.
        """
        for place in ("", *enters):
            _sync(root_fd, place)
        walk = _Walk(root_fd, exclude, enters)
        walk.run()
        if hash_content or walk.has_coarse_ctime:
            return cls(walk.directories, walk.hashed(lambda _: True), walk.xattrs)
        past_ns = _wait_past(walk.newest_ctime_ns)
        racy = {}
        if walk.newest_ctime_ns >= past_ns:
            racy = walk.hashed(lambda record: record.ctime_ns >= past_ns)
        return cls(walk.directories, racy, walk.xattrs)


def changes(before: Scan, root_fd: int, after: Scan) -> list[LayerItem]:
    """The layer that leads from one scan to the next: parents first, siblings by name.

    Deletions become whiteouts, the topmost only. A file whose ctime changed is in the layer even where its
    content is the same: nothing is kept of the old content to compare with, unless it was hashed. A
    directory is, where its mode, owner, time or attributes changed; parents of changes are listed as they
    are. What is mounted on a directory has times of its own, which don't count.
    """
    return _Comparison(before, root_fd, after).items()


class _Walk:
    """One pass over a root directory."""

    def __init__(self, root_fd: int, exclude: Exclude | None, enters: Collection[str] = ()) -> None:
        self._root_fd = root_fd
        self._exclude = exclude
        self._devices = {os.fstat(root_fd).st_dev}
        self._enters = enters
        self.directories: dict[str, dict[str, bytes]] = {}
        self.xattrs: dict[str, dict[str, bytes]] = {}
        self.newest_ctime_ns = 0
        self.has_coarse_ctime = True

    def run(self) -> None:
        fine = False
        todo = [""]
        while todo:
            directory = todo.pop()
            fd = open_directory(self._root_fd, directory, readable=True)
            if fd is None:
                continue
            try:
                below, newest_ns, finer = self._directory(directory, fd)
            finally:
                os.close(fd)
            todo += below
            fine = fine or finer
            self.newest_ctime_ns = max(self.newest_ctime_ns, newest_ns)
        self.has_coarse_ctime = not fine

    def _directory(self, directory: str, fd: int) -> tuple[list[str], int, bool]:
        """Record what is in a directory: its directories, the newest ctime, whether one has nanoseconds."""
        records: dict[str, bytes] = {}
        below: list[str] = []
        newest_ns, fine = 0, False
        with os.scandir(fd) as names:
            for found in names:
                name = found.name
                if self._exclude is not None and self._exclude(join(directory, name)):
                    continue
                try:
                    status = found.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                kind = stat.S_IFMT(status.st_mode)
                if kind == stat.S_IFSOCK:
                    continue
                records[name] = _pack(status, kind)
                ctime_ns = status.st_ctime_ns
                newest_ns = max(newest_ns, ctime_ns)
                fine = fine or ctime_ns % _SECOND_NS != 0
                if kind == stat.S_IFDIR and self._is_entered(path := join(directory, name), status.st_dev):
                    below.append(path)
                    self._keep_xattrs(path, fd, name)
        self.directories[directory] = records
        return below, newest_ns, fine

    def _is_entered(self, path: str, device: int) -> bool:
        if path in self._enters:
            self._devices.add(device)
        return device in self._devices

    def _keep_xattrs(self, path: str, fd: int, name: str) -> None:
        xattrs = layer_xattrs(read_xattrs(fd, name))
        if xattrs:
            self.xattrs[path] = dict(xattrs)

    def hashed(self, wanted: Callable[[_Record], bool]) -> dict[str, bytes]:
        """The digests of the regular files whose record is wanted."""
        digests = {}
        for directory, records in self.directories.items():
            for name, packed in records.items():
                record = _unpack(packed)
                if stat.S_ISREG(record.mode) and wanted(record):
                    path = join(directory, name)
                    digests[path] = _digest(self._root_fd, path)
        return digests


class _Comparison:
    """Two scans side by side."""

    def __init__(self, before: Scan, root_fd: int, after: Scan) -> None:
        self._before = before
        self._after = after
        self._root_fd = root_fd

    def items(self) -> list[LayerItem]:
        changed = {path for directory in self._after.directories for path in self._changed_in(directory)}
        for path in [*changed, *self._deleted()]:
            while path := parent_of(path):
                if path in changed:
                    break
                changed.add(path)
        items = list(self._present(changed))
        items += [_whiteout(path) for path in self._deleted()]
        return sorted(items, key=lambda item: sort_key(item.entry.path))

    def _changed_in(self, directory: str) -> Iterator[str]:
        old = self._before.directories.get(directory, {})
        for name, packed in self._after.directories[directory].items():
            path = join(directory, name)
            if name not in old or self._differs(path, old[name], packed):
                yield path

    def _differs(self, path: str, old_packed: bytes, new_packed: bytes) -> bool:
        if old_packed == new_packed and path not in self._before.digests:
            return False
        old, new = _unpack(old_packed), _unpack(new_packed)
        if stat.S_ISDIR(old.mode) and stat.S_ISDIR(new.mode):
            metadata = (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid)
            time = old.mtime_ns != new.mtime_ns and self._was_entered(path)
            return metadata or time or self._before.xattrs.get(path) != self._after.xattrs.get(path)
        if old != new:
            return True
        digest = self._before.digests.get(path)
        return digest is not None and digest != (
            self._after.digests.get(path) or _digest(self._root_fd, path)
        )

    def _was_entered(self, path: str) -> bool:
        """Whether neither scan found a mount point here."""
        return path in self._before.directories and path in self._after.directories

    def _deleted(self) -> Iterator[str]:
        for directory, old in self._before.directories.items():
            now = self._after.directories.get(directory)
            if now is not None:
                yield from (join(directory, name) for name in old if name not in now)

    def _present(self, paths: set[str]) -> Iterator[LayerItem]:
        """The entries at these paths as they are on disk now."""
        links = HardLinks()
        for path in sorted(paths, key=sort_key):
            fd = open_directory(self._root_fd, parent_of(path))
            if fd is None:
                continue
            try:
                status = stat_name(fd, name_of(path))
                entry = None if status is None else describe(fd, name_of(path), path, status)
            finally:
                os.close(fd)
            if entry is not None and status is not None:
                yield links.item(entry, status, partial(open_regular, self._root_fd, path))


def _whiteout(path: str) -> LayerItem:
    name = join(parent_of(path), WHITEOUT_PREFIX + name_of(path))
    return LayerItem(Entry(path=name, kind=Kind.FILE, mode=0o644))


def _pack(status: os.stat_result, kind: int) -> bytes:
    return _PACKED.pack(
        status.st_ino,
        status.st_ctime_ns,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        0 if kind == stat.S_IFDIR else status.st_size,
        status.st_mtime_ns,
    )


def _unpack(packed: bytes) -> _Record:
    return _Record._make(_PACKED.unpack(packed))


def _digest(root_fd: int, path: str) -> bytes:
    digest = hashlib.sha256()
    with open_regular(root_fd, path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()


def _wait_past(newest_ns: int) -> int:
    """Wait until the clock that stamps files is past `newest_ns`; gives the time it is past.

    A ctime in the future, from a clock that was set back, is not waited for.
    """
    deadline = time.monotonic() + 4 * _LONGEST_TICK_S
    while (now_ns := time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)) <= newest_ns:
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    return now_ns


def _sync(root_fd: int, path: str) -> None:
    """Write the dirty pages of a directory's file system; what can't be synced is scanned as it is."""
    fd = open_directory(root_fd, path, readable=True)
    if fd is not None:
        ctypes.CDLL(None, use_errno=True).syncfs(fd)
        os.close(fd)
