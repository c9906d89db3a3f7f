"""A path looked up inside a root, with symbolic links followed as if that root were `/`.

The root's content is hostile: `/dev -> /` or `/etc/resolv.conf -> ../../../etc/shadow` must not lead out of
it. The rule is the same for every root, also for `rootfs.tree.resolve_links` over an index: an absolute link
starts at the root, ".." at the root stays there, ".." behind a link is the parent of what the link stands
for, and a path may lead through MAX_LINKS links. The kernel never follows a magic link (`/proc/PID/root`).

Loaded by the small interpreter that starts each RUN step: see `linux.syscalls` for what that forbids.
"""

import errno
import os
import stat

from knarr.linux import syscalls as sc

TYPE_CHECKING = False  # `typing` would cost the step's interpreter more than all the mounts
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINKS = 255
"""Symbolic links followed for one path, as in BuildKit.

The kernel itself gives up after 40 (path_resolution(7)): where openat2 says ELOOP, the path is walked.
"""

_MAX_PATH_BYTES = 4095
"""PATH_MAX without its NUL."""
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLLOWING = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_MAGICLINKS
_REFUSING = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_SYMLINKS
_NO_OPENAT2 = (errno.ENOSYS, errno.EPERM)
"""An old kernel, or gVisor; a seccomp profile older than the call."""
_PROC_ROOT_INODE = 1


def open_in_root(root: int, path: str, flags: int = os.O_PATH, *, follow_links: bool = True) -> int:
    """A descriptor of what `path` names inside the directory `root`; the caller closes it.

    Without `follow_links` a symbolic link anywhere in the path is refused. With O_PATH | O_NOFOLLOW in
    `flags` the last component may be one, and is itself opened. Raises OSError as open(2) does: ENOENT where
    nothing is there, ELOOP for a loop, a magic link and a link that is refused; ValueError for a NUL.
    """
    try:
        return sc.openat2(root, path or ".", flags, _FOLLOWING if follow_links else _REFUSING)
    except OSError as error:
        if error.errno not in _NO_OPENAT2 and not (error.errno == errno.ELOOP and follow_links):
            raise
    return walk_in_root(root, path, flags, follow_links=follow_links)


def walk_in_root(root: int, path: str, flags: int = os.O_PATH, *, follow_links: bool = True) -> int:
    """What `open_in_root` does, one component at a time: for kernels without openat2, and for many links."""
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise _error(errno.ENAMETOOLONG, path)
    return _Walk(root, path, flags, follow_links=follow_links).run()[0]


def resolve_in_root(
    root: int,
    path: str,
    *,
    make_missing: "Callable[[int, str, str], None] | None" = None,
    make_room: "Callable[[int, str, str], bool] | None" = None,
) -> tuple[int, str]:
    """Open the directory at `path`, and tell its path after all links, "" for the root.

    The caller closes the descriptor, which is good for *at calls only (O_PATH). The kernel is never asked to
    follow a link, so one that is put there meanwhile leads nowhere. A magic link means what its text says,
    inside the root: a layer may have links into the /proc of the container that is built in place.
    `make_missing` makes a directory that is missing, given the descriptor of the one above, the name in it
    and its whole path. `make_room` gets the same for a link, and for anything else that is no directory: true
    where it has put a directory in its place. Raises OSError as `open_in_root`.
    """
    if "\0" in path:
        raise ValueError("embedded null byte")
    if not path:
        return os.dup(root), ""
    if _is_normal(path):
        try:
            return sc.openat2(root, path, _DIRECTORY, _REFUSING), path
        except OSError:
            pass  # it has a link, is missing, or the kernel has no openat2
    flags = _DIRECTORY & ~os.O_NOFOLLOW
    walk = _Walk(root, path, flags, reads_magic_links=True, make_missing=make_missing, make_room=make_room)
    return walk.run()


def _is_normal(path: str) -> bool:
    """Whether the path is the one of its directory, if there is no link in it."""
    slashed = f"/{path}/"
    return "//" not in slashed and "/./" not in slashed and "/../" not in slashed


class _Walk:
    """Opens a path a component at a time, the next one always by its name in a directory that is open."""

    def __init__(
        self,
        root: int,
        path: str,
        flags: int,
        *,
        follow_links: bool = True,
        reads_magic_links: bool = False,
        make_missing: "Callable[[int, str, str], None] | None" = None,
        make_room: "Callable[[int, str, str], bool] | None" = None,
    ) -> None:
        self._root = root
        self._path = path
        self._flags = flags
        self._follow_links = follow_links
        self._reads_magic_links = reads_magic_links
        self._make_missing = make_missing
        self._make_room = make_room
        self._fd = os.dup(root)
        self._resolved: list[str] = []
        self._pending = path.split("/")[::-1]
        self._links = 0

    def run(self) -> tuple[int, str]:
        """The descriptor, which is the caller's, with the path after all links."""
        try:
            while self._pending:
                self._step(self._pending.pop())
            if not self._flags & os.O_PATH:
                flags = self._flags & ~os.O_NOFOLLOW | os.O_CLOEXEC
                self._enter(os.open(f"/proc/self/fd/{self._fd}", flags))
            return self._fd, "/".join(self._resolved)
        except BaseException:
            os.close(self._fd)
            raise

    def _step(self, name: str) -> None:
        if name in ("", "."):
            return
        if name == "..":
            self._ascend()
            return
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=self._fd)
        except NotADirectoryError:
            if self._make_room is None or not self._make_room(
                self._fd, name, "/".join([*self._resolved, name])
            ):
                self._meet(name)
                return
            fd = os.open(name, _DIRECTORY, dir_fd=self._fd)
        except FileNotFoundError:
            if self._make_missing is None:
                raise
            self._make_missing(self._fd, name, "/".join([*self._resolved, name]))
            fd = os.open(name, _DIRECTORY, dir_fd=self._fd)
        self._enter(fd)
        self._resolved.append(name)

    def _enter(self, fd: int) -> None:
        os.close(self._fd)
        self._fd = fd

    def _ascend(self) -> None:
        """Go up, by way of the path from the root: a moved directory's own ".." could lead out of it."""
        del self._resolved[-1:]
        while self._pending and self._pending[-1] in ("..", ".", ""):
            if self._pending.pop() == "..":
                del self._resolved[-1:]
        self._enter(self._reopened())

    def _reopened(self) -> int:
        try:
            return sc.openat2(self._root, "/".join(self._resolved) or ".", _DIRECTORY, _REFUSING)
        except OSError:
            pass
        fd = os.dup(self._root)
        for name in self._resolved:
            try:
                following = os.open(name, _DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = following
        return fd

    def _meet(self, name: str) -> None:
        """Go on from what is no directory: a link is followed, anything else is the end of the path."""
        fd = os.open(name, _ENTRY, dir_fd=self._fd)
        try:
            is_link = stat.S_ISLNK(os.fstat(fd).st_mode)
            is_itself_wanted = not self._pending and bool(self._flags & os.O_NOFOLLOW)
            if is_link and not is_itself_wanted:
                self._follow(fd)
                return
            if self._pending or self._flags & os.O_DIRECTORY:
                raise _error(errno.ENOTDIR, self._path)
            if is_link and not self._flags & os.O_PATH:
                raise _error(errno.ELOOP, self._path)
            self._enter(os.dup(fd))
            self._resolved.append(name)
        finally:
            os.close(fd)

    def _follow(self, link: int) -> None:
        self._links += 1
        if not self._follow_links or self._links > MAX_LINKS:
            raise _error(errno.ELOOP, self._path)
        if not self._reads_magic_links and self._is_magic(link):
            raise _error(errno.ELOOP, self._path)
        if sum(map(len, self._resolved)) + len(self._resolved) > _MAX_PATH_BYTES:
            raise _error(errno.ENAMETOOLONG, self._path)
        target = os.readlink("", dir_fd=link)
        if target.startswith("/"):
            self._resolved.clear()
            self._enter(os.dup(self._root))
        self._pending.extend(target.split("/")[::-1])

    def _is_magic(self, link: int) -> bool:
        """Whether it is a link in a process's directory; `/proc/self`, beside these, is an ordinary one."""
        if sc.file_system_type(link) != sc.PROC_SUPER_MAGIC:
            return False
        return os.fstat(self._fd).st_ino != _PROC_ROOT_INODE


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
