"""Applying a layer to a root file system (image-spec layer.md, "Applying Changesets").

The result is what overlayfs shows of layers that were unpacked each by itself, as containerd does it. The
directory of an entry is resolved within the root, its last component never, and the links of its own layer
alone are followed: a link or file of a lower layer gives way to a directory. What is there gives way
too, except that a directory is merged with a directory. The metadata of the root directory itself is left
alone.
"""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace

from knarr.errors import CorruptError
from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind
from knarr.layers.paths import join
from knarr.layers.tar.read import TarReader
from knarr.rootfs.paths import (
    Directory,
    DirectoryCache,
    Fate,
    clear_directory,
    make_implicit,
    remove_tree,
    resolve_directory,
)
from knarr.rootfs.unpacking.faults import joined, missing_target, unpacking_error
from knarr.rootfs.unpacking.metadata import Loss, Losses, MetadataWriter, OwnerPolicy, describe_directory
from knarr.rootfs.unpacking.protection import ProtectedError, Protection

__all__ = ["AppliedLayer", "Loss", "OwnerPolicy", "apply_layer"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NODE_TYPES = {Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}
_REPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What looking a directory up gives where its layer itself has replaced it since."""
PROTECTED = "what lies at a protected place: /"
"""How `Loss.what` begins for entries that were left out; the place follows."""


@dataclass(frozen=True, slots=True)
class AppliedLayer:
    """How it went."""

    losses: tuple[Loss, ...]
    """What the root file system goes without."""


def apply_layer(
    root_fd: int,
    members: TarReader,
    *,
    owner_policy: OwnerPolicy = OwnerPolicy.KEEP,
    protected: Protection | None = None,
) -> AppliedLayer:
    """Apply the layer that `members` reads to the directory `root_fd`, where nothing else is at work.

    Nothing is synced. What is `protected` is never written, emptied or removed; a directory that holds
    such a path is cleared around it. Modes are as the layer has them, whatever the umask, which belongs to
    other threads too. Raises CorruptError for a layer that makes no sense, IsolationError where this process
    lacks a right, OutputError where the file system fails; then the directory holds a part of the layer.
    """
    applier = _Applier(root_fd, members, owner_policy, protected)
    try:
        return applier.run()
    finally:
        applier.close()


class _NodeRefusedError(Exception):
    """The kernel lets us make no such device."""


class _Applier:
    """One layer on its way to a directory.

    `_own` has the paths of this layer, and the directories above them: whiteouts don't touch these wherever
    they stand in the archive (layer.md, "Whiteouts").
    """

    def __init__(
        self, root_fd: int, reader: TarReader, policy: OwnerPolicy, protection: Protection | None
    ) -> None:
        self._root_fd = root_fd
        self._reader = reader
        self._protection = protection
        self._losses = Losses()
        self._metadata = MetadataWriter(policy, self._losses)
        self._directories = DirectoryCache(
            root_fd, guard=protection.check if protection else None, make_room=self._make_directory_room
        )
        self._own: set[str] = set()
        self._directory_times: dict[str, int] = {}
        self._makers: dict[Kind, Callable[[Directory, str, Entry, str], None]] = {
            Kind.FILE: self._make_file,
            Kind.DIRECTORY: self._make_directory,
            Kind.SYMLINK: self._make_symlink,
            Kind.HARDLINK: self._make_hardlink,
            Kind.CHAR: self._make_node,
            Kind.BLOCK: self._make_node,
            Kind.FIFO: self._make_node,
        }

    def run(self) -> AppliedLayer:
        path = "a layer"
        try:
            for entry in self._reader:
                path = entry.path
                if path:
                    self._apply(entry)
            path = "times of directories"
            self._restore_directory_times()
        except OSError as error:
            raise unpacking_error(error, path) from error
        return AppliedLayer(self._losses.all())

    def close(self) -> None:
        self._directories.forget()

    def _apply(self, entry: Entry) -> None:
        head, _, name = entry.path.rpartition("/")
        is_marker = name.startswith(WHITEOUT_PREFIX) and self._reader.whiteouts
        try:
            if self._protection is not None:
                self._protection.check(entry.path)
            directory = self._directories.get(head)
            path = entry.path if directory.path == head else joined(directory.path, name)
            if self._protection is not None:
                self._protection.check(path)
        except ProtectedError as error:
            if not is_marker and self._is_lent(error.path, entry):
                self._apply(entry)
                return
            if entry.kind is not Kind.DIRECTORY:  # what is kept is one mostly, and no file is missed
                self._lose(error.path)
            return
        except NotADirectoryError:
            if is_marker:
                return
            raise
        if directory.path not in self._own:
            self._add_own_directory(directory.path)
        if is_marker:
            self._white_out(directory, name)
            return
        self._own.add(path)
        if self._protection is not None:
            self._protection.describe(path)
        self._makers[entry.kind](directory, name, entry, path)

    def _is_lent(self, path: str, entry: Entry) -> bool:
        """Whether the protected place that a path is in has become the image's, for what can be there."""
        assert self._protection is not None
        can_be = entry.kind is Kind.DIRECTORY or path not in self._protection.paths
        return can_be and self._protection.lend(path)

    def _lose(self, path: str) -> None:
        """Note that an entry was left out at a protected place."""
        assert self._protection is not None
        self._losses.add(f"{PROTECTED}{self._protection.covering(path) or path}", path)

    def _hide(self, path: str) -> None:
        if self._protection is not None:
            self._protection.hide(path, own=self._own)

    def _add_own_directory(self, path: str) -> None:
        while path not in self._own:
            self._own.add(path)
            if self._protection is not None:
                self._protection.unblock(path)
            path = path.rpartition("/")[0]

    def _make_directory_room(self, directory_fd: int, name: str, path: str) -> bool:
        """Put a directory in the place of a lower layer's link or file; false for what is this layer's own.

        It gets owner and mode of the directory that a link leads to, as containerd has it.
        """
        if path in self._own:
            return False
        if self._protection is not None:
            self._protection.check(path)
        like = describe_directory(self._root_fd, path)
        os.unlink(name, dir_fd=directory_fd)
        make_implicit(directory_fd, name)
        if like is not None:
            fd = os.open(name, _DIRECTORY, dir_fd=directory_fd)
            try:
                self._metadata.apply(fd, replace(like, path=path))
            finally:
                os.close(fd)
        return True

    def _fate(self, path: str) -> Fate:
        fate = Fate.REMOVE if self._protection is None else self._protection.fate(path)
        return Fate.DESCEND if fate is Fate.REMOVE and path in self._own else fate

    def _white_out(self, directory: Directory, name: str) -> None:
        if name == OPAQUE_MARKER:
            clear_directory(self._root_fd, directory.path, self._fate)
            self._directories.forget()
            self._hide(directory.path)
            return
        target = name.removeprefix(WHITEOUT_PREFIX)
        path = join(directory.path, target)
        fate = self._fate(path)
        try:
            if fate is Fate.REMOVE:
                remove_tree(directory.fd, target)
            elif fate is Fate.KEEP:
                self._lose(path)
            elif self._is_directory(directory, target):
                clear_directory(self._root_fd, path, self._fate)
                self._hide(path)
        except FileNotFoundError:
            return
        self._directories.forget()

    def _is_directory(self, directory: Directory, name: str) -> bool:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_mode)

    def _make_room(self, directory: Directory, name: str, path: str) -> Directory | None:
        """Remove what stands where an entry goes.

        The directory to go on with, since the cache may be emptied; None where something protected stays.
        """
        is_directory = self._is_directory(directory, name)
        if self._protection is not None and self._protection.fate(path) is not Fate.REMOVE:
            if is_directory:
                clear_directory(self._root_fd, path, self._protection.fate)
                self._directories.forget()
                self._protection.block(path)
            self._lose(path)
            return None
        remove_tree(directory.fd, name)
        # Of links too, some path may have been resolved through it.
        self._directories.forget()
        return self._directories.get(directory.path)

    def _make_file(self, directory: Directory, name: str, entry: Entry, path: str) -> None:
        needs_metadata = self._metadata.is_needed(entry, directory)
        mode = 0o600 if needs_metadata else entry.mode
        try:
            fd = os.open(name, _NEW_FILE, mode, dir_fd=directory.fd)
        except FileExistsError:
            room = self._make_room(directory, name, path)
            if room is None:
                return
            fd = os.open(name, _NEW_FILE, mode, dir_fd=room.fd)
        try:
            if entry.size:
                self._write_content(fd, entry)
            if needs_metadata:
                self._metadata.apply(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _write_content(self, fd: int, entry: Entry) -> None:
        if self._reader.sparse_map is None:
            whole = self._reader.take_whole()
            for chunk in self._reader.chunks() if whole is None else (whole,):
                written = os.write(fd, chunk)
                while written < len(chunk):
                    written += os.write(fd, chunk[written:])
            return
        os.ftruncate(fd, entry.size)
        for offset, length in self._reader.sparse_map:
            end = offset + length
            while offset < end:
                data = self._reader.read(end - offset)
                while data:
                    written = os.pwrite(fd, data, offset)
                    offset += written
                    data = data[written:]

    def _make_directory(self, directory: Directory, name: str, entry: Entry, path: str) -> None:
        existing = False
        try:
            os.mkdir(name, entry.mode, dir_fd=directory.fd)
        except FileExistsError:
            existing = self._is_directory(directory, name)
            if not existing:
                room = self._make_room(directory, name, path)
                if room is None:
                    return
                directory = room
                os.mkdir(name, entry.mode, dir_fd=directory.fd)
        self._directory_times[path] = entry.mtime_ns
        if existing and self._protection is not None:
            self._protection.unblock(path)
        if existing or self._metadata.is_needed(entry, directory):
            fd = os.open(name, _DIRECTORY, dir_fd=directory.fd)
            try:
                self._metadata.apply(fd, entry, existing=existing)
            finally:
                os.close(fd)
            if entry.mode & stat.S_ISGID:
                self._directories.forget()

    def _make_symlink(self, directory: Directory, name: str, entry: Entry, path: str) -> None:
        def make(dir_fd: int) -> None:
            os.symlink(entry.link_target, name, dir_fd=dir_fd)

        self._make_by_name(directory, name, entry, path, make)

    def _make_node(self, directory: Directory, name: str, entry: Entry, path: str) -> None:
        def make(dir_fd: int) -> None:
            try:
                os.mknod(name, entry.mode | _NODE_TYPES[entry.kind], os.makedev(*entry.device), dir_fd=dir_fd)
            except PermissionError as error:
                raise _NodeRefusedError from error

        try:
            self._make_by_name(directory, name, entry, path, make)
        except _NodeRefusedError:
            self._losses.add(f"a {entry.kind.value} device", entry.path)

    def _make_by_name(
        self, directory: Directory, name: str, entry: Entry, path: str, make: Callable[[int], None]
    ) -> None:
        try:
            make(directory.fd)
        except FileExistsError:
            room = self._make_room(directory, name, path)
            if room is None:
                return
            directory = room
            make(directory.fd)
        if self._metadata.is_needed(entry, directory):
            self._metadata.apply_by_name(directory, name, entry)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=directory.fd, follow_symlinks=False)

    def _make_hardlink(self, directory: Directory, name: str, entry: Entry, path: str) -> None:
        head, _, target = entry.link_target.rpartition("/")
        try:
            source = resolve_directory(self._root_fd, head)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing_target(entry) from error
        try:
            if self._protection is not None and self._protection.covers(join(source.path, target)):
                self._lose(join(source.path, target))
                return
            if join(source.path, target) == path:
                raise CorruptError(f"a layer has the hard link {path} to itself")
            linked = self._link(source, target, directory, name, path, entry)
        finally:
            os.close(source.fd)
        if linked is not None:
            self._metadata.apply_to_link(linked, name, entry)

    def _link(
        self, source: Directory, target: str, directory: Directory, name: str, path: str, entry: Entry
    ) -> Directory | None:
        """Make the link, to the target itself where that is a symbolic link; the directory that holds it."""
        try:
            if self._is_directory(source, target):
                raise CorruptError(f"a layer has a hard link to a directory: {path} to {entry.link_target}")
            try:
                os.link(target, name, src_dir_fd=source.fd, dst_dir_fd=directory.fd, follow_symlinks=False)
            except FileExistsError:
                room = self._make_room(directory, name, path)
                if room is None:
                    return None
                directory = room
                os.link(target, name, src_dir_fd=source.fd, dst_dir_fd=directory.fd, follow_symlinks=False)
        except FileNotFoundError as error:
            raise missing_target(entry) from error
        return directory

    def _restore_directory_times(self) -> None:
        """Set them at the end, since every entry made in a directory changes its time."""
        for path, mtime_ns in self._directory_times.items():
            head, _, name = path.rpartition("/")
            try:
                directory = self._directories.get(head, create=False)
                if directory.path == head and self._is_directory(directory, name):
                    os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory.fd, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _REPLACED:
                    raise
