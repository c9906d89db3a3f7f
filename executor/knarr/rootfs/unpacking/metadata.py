"""Owner, mode, extended attributes of what was just unpacked."""

import enum
import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from knarr.errors import CorruptError, IsolationError
from knarr.layers.entry import Entry, Kind
from knarr.rootfs.inode import OVERLAY_PREFIXES, OWNER_XATTR, describe
from knarr.rootfs.paths import Directory, resolve_directory

_LEFT_OUT = (*OVERLAY_PREFIXES, "user.knarr.")
"""Attributes that would steer the file system or us, and are no content."""
_NOT_OURS_TO_SET = frozenset({errno.EPERM, errno.EINVAL})
_XATTR_REFUSED = frozenset({errno.EPERM, errno.ENOTSUP})
_XATTR_INVALID = frozenset({errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.EILSEQ})
_MAX_LOSSES = 100
_NODES = frozenset({Kind.CHAR, Kind.BLOCK, Kind.FIFO})


class OwnerPolicy(enum.Enum):
    """What to do with an owner that this process may not give to a file."""

    KEEP = "keep"
    """Fail: every owner must be kept."""
    RECORD = "record"
    """Write it to `OWNER_XATTR` of regular files and directories; forget it for anything else."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Something a layer has and the root file system could not get."""

    what: str
    path: str
    """The first path it happened to."""
    count: int


class Losses:
    """Counts what is lost, a line for each kind of thing."""

    def __init__(self) -> None:
        self._losses: dict[str, Loss] = {}

    def add(self, what: str, path: str) -> None:
        """Note that `path` goes without `what`."""
        if len(self._losses) >= _MAX_LOSSES and what not in self._losses:
            what = "other things"
        known = self._losses.get(what)
        self._losses[what] = Loss(what, known.path, known.count + 1) if known else Loss(what, path, 1)

    def all(self) -> tuple[Loss, ...]:
        """In the order in which they first happened."""
        return tuple(self._losses.values())


class MetadataWriter:
    """Gives metadata to inodes, by descriptor where they have one, else by name in their directory."""

    def __init__(self, policy: OwnerPolicy, losses: Losses) -> None:
        self._policy = policy
        self._losses = losses
        self._default_owner = (os.geteuid(), os.getegid())
        self._umask = _read_umask()

    def is_needed(self, entry: Entry, directory: Directory) -> bool:
        """Whether a new inode differs from what its creation with the entry's mode makes of it."""
        return (
            (entry.uid, entry.gid) != self._default_owner
            or entry.mode & (self._umask | 0o7000) != 0
            or bool(entry.xattrs)
            or directory.inherits_group
        )

    def apply(self, fd: int, entry: Entry, *, existing: bool = False) -> None:
        """Owner, attributes and mode of a regular file or directory.

        In this order: chown clears the setuid bits and capabilities, which are set afterwards then.
        """
        self._set_owner(fd, entry, existing=existing)
        for name, value in entry.xattrs.items():
            self._set_xattr(fd, entry.path, name, value)
        os.fchmod(fd, entry.mode)

    def apply_by_name(self, directory: Directory, name: str, entry: Entry) -> None:
        """Owner and attributes of a symbolic link, device or FIFO, and the mode of the latter two."""
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=directory.fd, follow_symlinks=False)
        except OSError as error:
            self._check_owner_error(error, entry)
            self._losses.add(f"the owner of a {entry.kind.value}", entry.path)
        # There is no call for an attribute of a name in a directory.
        path = f"/proc/self/fd/{directory.fd}/{name}"
        for key, value in entry.xattrs.items():
            self._set_xattr(path, entry.path, key, value)
        if entry.kind in _NODES:
            _set_node_mode(directory, name, entry.mode)

    def apply_to_link(self, directory: Directory, name: str, entry: Entry) -> None:
        """What a hard link's header says, as containerd does, where the file has something else."""
        found = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            fd = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory.fd
            )
            try:
                if entry.xattrs or not self._is_as_described(fd, found, entry):
                    self.apply(fd, entry, existing=True)
            finally:
                os.close(fd)
        elif (found.st_uid, found.st_gid) != (entry.uid, entry.gid):
            self.apply_by_name(directory, name, entry)
        if found.st_mtime_ns != entry.mtime_ns:
            times = (entry.mtime_ns, entry.mtime_ns)
            os.utime(name, ns=times, dir_fd=directory.fd, follow_symlinks=False)

    def _is_as_described(self, fd: int, found: os.stat_result, entry: Entry) -> bool:
        if stat.S_IMODE(found.st_mode) != entry.mode:
            return False
        if self._policy is OwnerPolicy.RECORD and OWNER_XATTR in os.listxattr(fd):
            return os.getxattr(fd, OWNER_XATTR) == _owner_record(entry)
        return (found.st_uid, found.st_gid) == (entry.uid, entry.gid)

    def _set_owner(self, fd: int, entry: Entry, *, existing: bool) -> None:
        try:
            os.fchown(fd, entry.uid, entry.gid)
        except OSError as error:
            self._check_owner_error(error, entry)
            try:
                os.setxattr(fd, OWNER_XATTR, _owner_record(entry))
            except OSError as refused:
                if refused.errno not in _XATTR_REFUSED:
                    raise
                self._losses.add(f"the owner of a {entry.kind.value}", entry.path)
            return
        if existing and self._policy is OwnerPolicy.RECORD:
            try:
                os.removexattr(fd, OWNER_XATTR)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                    raise

    def _check_owner_error(self, error: OSError, entry: Entry) -> None:
        if error.errno not in _NOT_OURS_TO_SET:
            raise error
        if self._policy is OwnerPolicy.KEEP:
            raise IsolationError(
                f"unpacking {entry.path}: can't give it to {entry.uid}:{entry.gid}: {error.strerror}",
                hint="run as root, or in a user namespace that maps this owner",
            ) from error

    def _set_xattr(self, target: int | str, path: str, name: str, value: bytes) -> None:
        if name.startswith(_LEFT_OUT):
            self._losses.add(f"the extended attribute {name}", path)
            return
        try:
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno in _XATTR_INVALID:
                raise CorruptError(f"{path} has an impossible extended attribute {name}") from error
            if error.errno not in _XATTR_REFUSED:
                raise
            self._losses.add(f"the extended attribute {name}", path)


def describe_directory(root_fd: int, path: str) -> Entry | None:
    """The directory that a path leads to inside the root; None where there is none."""
    try:
        found = resolve_directory(root_fd, path)
    except OSError:
        return None
    try:
        return describe(found.fd, ".", found.path, os.fstat(found.fd))
    finally:
        os.close(found.fd)


def _read_umask() -> int:
    """This process's umask (proc(5), status); every bit where nothing tells, as before Linux 4.7.

    umask(2) tells it only by setting it, which other threads would notice.
    """
    with suppress(OSError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777


def _set_node_mode(directory: Directory, name: str, mode: int) -> None:
    # Not opened, which can do something to a device; O_PATH with a name in /proc, since chmod has no way to
    # leave a symbolic link alone (before Linux 6.6).
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _owner_record(entry: Entry) -> bytes:
    return b"%d:%d" % (entry.uid, entry.gid)
