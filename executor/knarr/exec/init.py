"""The small interpreter between the executor and one RUN step's process.

Three processes make a step. The *starter* is the fresh interpreter: it leaves for a new pid namespace and
waits. *Process 1* of that namespace builds the step's mounts, makes the root `/`, reaps zombies and ends
with the command: the kernel then kills whatever the command left behind. The *command* drops what it must
and calls execve. Where pid namespaces are refused, the starter adopts what is left behind and kills it. In
place, where the root is `/` already, process 1 only reaps.

Imports nothing that the interpreter has to look for long: this is the cost of each RUN.
"""

import errno
import marshal
import os
import select

from knarr.exec import mounts
from knarr.exec.command import CommandError, execute
from knarr.exec.seccomp import close_keyrings
from knarr.linux import syscalls as sc

TYPE_CHECKING = False  # see knarr.exec.mounts
if TYPE_CHECKING:
    from collections.abc import Callable

    from knarr.exec.spec import WireSpec

STARTED = b"S"
"""What the status pipe says just before execve; a report of a failure may still follow."""

_SETUP_FAILED = 125
"""How a step's process ends that reported a failure."""

_SIGKILL = 9


def main(spec_fd: int, status_fd: int, lifeline_fd: int) -> None:
    """Run the step described on `spec_fd`; never returns. The exit status is the command's.

    `status_fd` receives STARTED or a report; `lifeline_fd` is at its end when the executor gives up or dies.
    """
    for descriptor in (spec_fd, status_fd, lifeline_fd):
        os.set_inheritable(descriptor, False)  # noqa: FBT003
    sc.reset_signals()
    with open(spec_fd, "rb") as pipe:
        spec: WireSpec = marshal.load(pipe)
    try:
        alive_fd, child = _fork_first(spec, status_fd, lifeline_fd)
    except OSError as error:
        _report(status_fd, "start a process in a new pid namespace", error)
        os._exit(_SETUP_FAILED)
    os.close(status_fd)
    _wait_for_end(alive_fd, lifeline_fd, child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not spec["pid_namespace"]:
        _kill_adopted()
    os._exit(code if code >= 0 else 128 - code)


def _fork_first(spec: "WireSpec", status_fd: int, lifeline_fd: int) -> tuple[int, int]:
    """Fork process 1; gives a descriptor that is at its end when it has ended, and its pid."""
    if spec["pid_namespace"]:
        # Without a pid namespace nobody but this process can kill the rest: then it outlives the executor.
        sc.prctl(sc.PR_SET_PDEATHSIG, _SIGKILL)
        if os.getppid() != spec["parent_pid"]:
            os._exit(_SETUP_FAILED)
        sc.unshare(sc.CLONE_NEWPID)
    else:
        sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)
    alive_read, alive_write = os.pipe()
    child = os.fork()
    if child == 0:
        if spec["pid_namespace"]:
            sc.prctl(sc.PR_SET_PDEATHSIG, _SIGKILL)
        os.close(lifeline_fd)
        os.close(alive_read)
        os._exit(_run_first(spec, status_fd))
    os.close(alive_write)
    # This process keeps the executor's capabilities and root: the step must not look into it.
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    return alive_read, child


def _wait_for_end(alive_fd: int, lifeline_fd: int, child: int) -> None:
    poll = select.poll()
    poll.register(alive_fd, select.POLLIN)
    poll.register(lifeline_fd, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll()}
    if alive_fd not in ready:
        os.kill(child, _SIGKILL)


def _kill_adopted() -> None:
    """Kill every child until none is left; the children of what dies become ours."""
    while True:
        for pid in _children():
            try:
                os.kill(pid, _SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    me = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent_of(name) == me]


def _parent_of(pid: str) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The command's name, in parentheses, may hold anything; the state and the parent follow it.
            return int(stream.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None  # ended meanwhile


def _run_first(spec: "WireSpec", status_fd: int) -> int:
    """Be process 1: set up, fork the command, reap until it ends; gives its status."""
    doing = "open /proc"
    try:
        old_proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for phase, step in _SETUP_IN_PLACE if spec["in_place"] else _SETUP:
            doing = phase
            step(spec)
        doing = "fork the command"
        command = os.fork()
    except OSError as error:
        _report(status_fd, doing, error)
        return _SETUP_FAILED
    if command == 0:
        _become_command(spec, old_proc, status_fd)
    os.close(status_fd)
    os.close(old_proc)
    # The command may not look into process 1, which it could were it as privileged.
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    sc.set_capabilities(0)
    return _reap_until(command)


def _reap_until(command: int) -> int:
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become_command(spec: "WireSpec", old_proc: int, status_fd: int) -> None:
    try:
        execute(spec, old_proc, lambda: os.write(status_fd, STARTED))
    except CommandError as error:
        _report(status_fd, error.doing, error.cause, error.path)
    os._exit(_SETUP_FAILED)


def _report(status_fd: int, doing: str, error: OSError, path: str | None = None) -> None:
    name = error.filename if isinstance(error.filename, str) else None
    report = {"doing": doing, "errno": error.errno, "strerror": error.strerror, "path": path or name}
    os.write(status_fd, marshal.dumps(report))


def _leave_namespaces(spec: "WireSpec") -> None:
    network = sc.CLONE_NEWNET if spec["network"] == "none" else 0
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | network)
    sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
    try:
        sc.sethostname(spec["hostname"])
    except PermissionError:
        pass  # podman's seccomp profile: the step keeps the container's name
    sc.join_new_session_keyring()
    close_keyrings()
    os.umask(0)


def _set_limits(spec: "WireSpec") -> None:
    if not spec["limits"]:
        return
    import resource  # before the root is entered: an image must not say what this is

    for number, soft, hard in spec["limits"]:
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError:
            raise OSError(errno.EPERM, "a hard limit can't be raised here") from None


def _leave_keyring(_: "WireSpec") -> None:
    sc.join_new_session_keyring()


def _raise_loopback(spec: "WireSpec") -> None:
    if spec["network"] != "none":
        return
    # Imported by the one step in many that needs them: they would slow every other.
    import fcntl
    import socket
    import struct

    siocsifflags, up = 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, siocsifflags, struct.pack("16sH22x", b"lo", up))


def _in_root(spec: "WireSpec") -> int:
    return os.open(spec["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _mount_root(spec: "WireSpec") -> None:
    os.close(mounts.open_root(spec["root"]))


def _mount_resolver_files(spec: "WireSpec") -> None:
    root = _in_root(spec)
    for source, target in ((spec["resolv_conf"], "etc/resolv.conf"), (spec["hosts"], "etc/hosts")):
        if source is not None:
            mounts.bind_file(root, source, target)
    os.close(root)


def _mount_proc(spec: "WireSpec") -> None:
    root = _in_root(spec)
    mounts.mount_proc(root, fresh=spec["pid_namespace"])
    os.close(root)


def _mount_sys(spec: "WireSpec") -> None:
    root = _in_root(spec)
    mounts.mount_sys(root)
    os.close(root)


def _mount_dev(spec: "WireSpec") -> None:
    root = _in_root(spec)
    mounts.mount_dev(root, spec["shm_bytes"])
    os.close(root)


def _mount_extra(spec: "WireSpec") -> None:
    root = _in_root(spec)
    for mount in spec["extra_mounts"]:
        mounts.mount_extra(root, mount)
    os.close(root)


def _protect_kernel_files(spec: "WireSpec") -> None:
    root = _in_root(spec)
    mounts.protect_kernel_files(root)
    os.close(root)


def _enter_root(spec: "WireSpec") -> None:
    os.chdir(spec["root"])
    # The old root comes to lie over the new one at the same place; pivot_root(2), "pivot_root(".", ".")".
    sc.pivot_root(".", ".")
    sc.umount(".", sc.MNT_DETACH)
    os.chdir("/")
    if os.path.lexists("/..") and os.stat("/..").st_ino != os.stat("/").st_ino:
        raise OSError(errno.EXDEV, "the new root is not closed")


# In this order: the resolver files before anything else is mounted, so that a link in the image can't
# put them over a device; the masks last, so that nothing mounted later uncovers what they hide.
_SETUP: "tuple[tuple[str, Callable[[WireSpec], None]], ...]" = (
    ("enter new namespaces", _leave_namespaces),
    ("set up the loopback device", _raise_loopback),
    ("set the limits of --ulimit", _set_limits),
    ("mount the root", _mount_root),
    ("mount resolv.conf or hosts", _mount_resolver_files),
    ("mount /proc", _mount_proc),
    ("mount /sys", _mount_sys),
    ("mount /dev", _mount_dev),
    ("make the step's own mounts", _mount_extra),
    ("protect /proc or /sys", _protect_kernel_files),
    ("enter the root", _enter_root),
)

_SETUP_IN_PLACE: "tuple[tuple[str, Callable[[WireSpec], None]], ...]" = (
    ("leave the session keyring", _leave_keyring),
    ("set the limits of --ulimit", _set_limits),
)
