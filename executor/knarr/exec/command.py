"""What becomes the step's command: its identity, capabilities, working directory, executable.

Runs inside the new root, in the process that becomes the RUN step's command.
"""

import errno
import os
import stat

from knarr.linux import syscalls as sc

TYPE_CHECKING = False  # see knarr.exec.mounts
if TYPE_CHECKING:
    from collections.abc import Callable

    from knarr.exec.spec import WireSpec

DEFAULT_CAPABILITIES = 0xA80425FB
"""Docker's default set: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where executables are looked for when the environment has no PATH."""

IDENTITY = "become the step's user"
CWD = "enter the working directory"
EXEC = "execute"
"""What a CommandError was doing."""

_UMASK = 0o022
_NOT_HERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_DENIED = (errno.EACCES, errno.EPERM)


class CommandError(Exception):
    """The command could not be started: what was being done, to which path, and the system's answer.

    For EXEC with ENOENT, `path` is None where no such file was found, and its name where the file is there
    but its interpreter or loader is not.
    """

    def __init__(self, doing: str, cause: OSError, path: str | None = None) -> None:
        super().__init__(doing)
        self.doing = doing
        self.cause = cause
        self.path = path


def execute(spec: "WireSpec", old_proc: int, on_ready: "Callable[[], object]") -> None:
    """Become the step's command; returns only by raising CommandError.

    `old_proc` is a descriptor of a /proc that knows this process; `on_ready` is called just before execve.
    """
    os.setsid()
    os.umask(_UMASK)
    # As root first, as runc does: a directory closed to the step's user may still be its working directory.
    entered = _try_chdir(spec["cwd"])
    try:
        _own_output(spec)
        _take_identity(spec, old_proc)
    except OSError as error:
        raise CommandError(IDENTITY, error) from error
    os.close(old_proc)
    try:
        if not entered:
            os.chdir(spec["cwd"])
        os.getcwd()  # ENOENT where it lies outside the root
    except OSError as error:
        raise CommandError(CWD, error, spec["cwd"]) from error
    on_ready()
    _exec(spec["argv"], spec["env"])


def _try_chdir(path: str) -> bool:
    try:
        os.chdir(path)
    except OSError:
        return False
    return True


def _own_output(spec: "WireSpec") -> None:
    """Let the step's user reopen its output pipes, as `/dev/stdout` does; files stay as they are."""
    if spec["single_id"] or not spec["uid"]:
        return
    for descriptor in (1, 2):
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            try:
                os.fchown(descriptor, spec["uid"], -1)
            except PermissionError:
                pass  # a pipe of somebody outside this user namespace


def _take_identity(spec: "WireSpec", old_proc: int) -> None:
    uid, gid = spec["uid"], spec["gid"]
    if spec["single_id"]:
        if uid or gid:
            _rename_single_id(old_proc, uid, gid)
        sc.limit_bounding_set(DEFAULT_CAPABILITIES)
    else:
        sc.limit_bounding_set(DEFAULT_CAPABILITIES)
        os.setgroups(spec["groups"])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    kept = 0 if uid else DEFAULT_CAPABILITIES & sc.effective_capabilities()
    sc.set_capabilities(kept)


def _rename_single_id(old_proc: int, uid: int, gid: int) -> None:
    """Show the one id we have as `uid` and `gid`, by a user namespace inside ours.

    The files of the root, all owned by that id, are then this user's: USER works, but separates nothing.
    """
    sc.prctl(sc.PR_SET_DUMPABLE, 1)  # or the files below belong to an id that we are not
    sc.unshare(sc.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} 0 1"), ("gid_map", f"{gid} 0 1")):
        opened = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=old_proc)
        try:
            os.write(opened, text.encode())
        finally:
            os.close(opened)


def _exec(argv: tuple[str, ...], env: dict[str, str]) -> None:
    """Execute argv[0], searched in the PATH of `env` unless it has a slash (execvpe(3), without its sh)."""
    name = argv[0]
    if "/" in name:
        candidates = [name]
    else:
        directories = env.get("PATH", DEFAULT_PATH).split(":")
        candidates = [f"{directory or '.'}/{name}" for directory in directories] if name else []
    denied: CommandError | None = None
    for candidate in candidates:
        try:
            os.execve(candidate, argv, env)
        except OSError as error:
            if error.errno in _NOT_HERE and not _is_file(candidate):
                continue
            if error.errno not in _DENIED:
                raise CommandError(EXEC, error, candidate) from error
            denied = denied or CommandError(EXEC, error, candidate)
        except ValueError as error:  # a NUL byte, or a name with "=" in the environment
            raise CommandError(EXEC, OSError(errno.EINVAL, str(error)), candidate) from error
    raise denied or CommandError(EXEC, OSError(errno.ENOENT, os.strerror(errno.ENOENT)))


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
