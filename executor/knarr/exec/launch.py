"""A RUN step's process, started by the executor through a small interpreter of its own.

The executor never forks itself: the step gets nothing of its memory, environment or descriptors.
"""

import errno
import marshal
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import knarr
from knarr.errors import IsolationError, RunError
from knarr.exec.command import CWD, EXEC, IDENTITY
from knarr.exec.init import STARTED
from knarr.exec.relay import Relay
from knarr.exec.spec import RunSpec

_PACKAGE_ROOT = str(Path(knarr.__file__).resolve().parent.parent)
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv[1]); from knarr.exec.init import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))"
)
_INTERPRETER_OPTIONS = ("-I", "-S", "-B")
_KILL_TIMEOUT_S = 5.0
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_MAX_REPORT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a step's process ended: its exit code, or 128 + the signal that killed it."""

    code: int

    @property
    def ok(self) -> bool:
        """Whether the process succeeded."""
        return self.code == 0


def run(spec: RunSpec, *, stdout: int, stderr: int, relay: Relay | None = None) -> ExitStatus:
    """Run one process to its end, and end what it left behind; its output goes to the two descriptors.

    With a `relay`, whose pipe one of them is or both are, output is carried on until the end.
    Raises IsolationError when the step can't be set up here, RunError when its command can't be executed.
    Any exception that comes up meanwhile (KeyboardInterrupt, one raised by a signal handler) kills the step
    first; the death of this process kills it too.
    """
    spec_read, spec_write = os.pipe()
    status_read, status_write = os.pipe()
    lifeline_read, lifeline_write = os.pipe()
    theirs = (spec_read, status_write, lifeline_read)
    try:
        process = _start(theirs, stdout=stdout, stderr=stderr)
    except BaseException:
        for descriptor in (spec_write, status_read, lifeline_write):
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    with _ended(process, lifeline_write):
        _send(spec_write, spec)
        with open(status_read, "rb") as pipe:
            if relay is None:
                status = pipe.read(_MAX_REPORT_BYTES)
            else:
                relay.started()
                status = relay.carry(pipe.fileno(), lambda: process.poll() is not None)
        code = process.wait()
    report = status.removeprefix(STARTED)
    if report:
        _raise(spec, marshal.loads(report))
    if not status:
        raise IsolationError(
            f"cannot start a RUN step: its interpreter ended with status {code} before the command began",
            hint="its own error output, above, says why; was it killed for want of memory?",
        )
    return ExitStatus(code if code >= 0 else 128 - code)


def _start(descriptors: tuple[int, int, int], *, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, *_INTERPRETER_OPTIONS, "-c", _BOOTSTRAP, _PACKAGE_ROOT]
    try:
        return subprocess.Popen(
            [*command, *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=descriptors,
            env={},
            cwd="/",
            # Out of the terminal's reach: a Ctrl-C comes to the executor, which then kills the step.
            start_new_session=True,
        )
    except OSError as error:
        raise IsolationError(
            f"cannot start the interpreter of a RUN step, {sys.executable}: {error.strerror}",
            hint="the executor starts a Python of its own for each RUN step; is it still where it was?",
        ) from error


@contextmanager
def _ended(process: subprocess.Popen[bytes], lifeline: int) -> Iterator[None]:
    """See that the process is gone at the end, killed where the block didn't wait for it."""
    try:
        yield
    finally:
        os.close(lifeline)  # its end makes the starter kill the step, wait for that, then end
        try:
            process.wait(_KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _send(descriptor: int, spec: RunSpec) -> None:
    try:
        with open(descriptor, "wb") as pipe:
            pipe.write(spec.to_wire(parent_pid=os.getpid()))
    except BrokenPipeError:
        pass  # it is dead already; its missing report tells


@dataclass(frozen=True, slots=True)
class _Report:
    """What the step's interpreter says of a failure."""

    doing: str
    errno: int
    strerror: str
    path: str | None


_SETUP_HINTS = {
    errno.EPERM: "the kernel or a security profile refused it; "
    "try a pod or container without AppArmor or seccomp confinement",
    errno.EACCES: "a security profile (AppArmor, SELinux) refused it, or the root isn't readable",
    errno.ENOSPC: "a limit on namespaces or mounts was reached: "
    "see /proc/sys/user/max_*_namespaces, /proc/sys/fs/mount-max",
    errno.ENOENT: "something that the step mounts doesn't exist",
}
_IDENTITY_HINT = (
    "this user namespace doesn't map that id; "
    "give the user a range of 65536 ids in /etc/subuid and /etc/subgid"
)
_IDENTITY_HINT_IN_PLACE = "the container needs the capabilities SETUID, SETGID, SETPCAP"


def _raise(spec: RunSpec, fields: dict[str, object]) -> NoReturn:
    report = _Report(**fields)  # type: ignore[arg-type]
    if report.doing == EXEC:
        raise _exec_error(spec, report)
    if report.doing == CWD:
        raise RunError(
            f"cannot enter the working directory {report.path}: {report.strerror}",
            status=_NOT_EXECUTABLE,
            hint="WORKDIR must be a directory of the image that the step's user may enter",
        )
    if report.doing == IDENTITY:
        raise IsolationError(
            f"cannot run as user {spec.uid}, group {spec.gid}: {report.strerror}",
            hint=_IDENTITY_HINT_IN_PLACE if spec.in_place else _IDENTITY_HINT,
        )
    where = f" at {report.path}" if report.path else ""
    raise IsolationError(
        f"cannot set up a RUN step: {report.doing}{where}: {report.strerror}",
        hint=_SETUP_HINTS.get(report.errno),
    )


def _exec_error(spec: RunSpec, report: _Report) -> RunError:
    name = spec.argv[0]
    if report.errno == errno.ENOENT and report.path is None:
        where = "in the image" if "/" in name else "in the PATH of the image"
        shell = 'use the exec form, RUN ["program", "argument"], or an image that has a shell'
        program = "install it in a step before, or copy it from another stage"
        return RunError(
            f"cannot execute {name}: not found {where}",
            status=_NOT_FOUND,
            hint=f"no {name} in the image; {shell}" if name.endswith("sh") else program,
        )
    hints = {
        errno.ENOENT: "the file is there, but the interpreter of its #! line or its dynamic loader is not",
        errno.ENOEXEC: "exec format error: built for another platform, or a script without a #! line?",
        errno.EACCES: "it isn't executable for the step's user; see its mode (COPY --chmod=755) and USER",
        errno.E2BIG: "one argument may have 128 KiB: move a long script to a file",
    }
    return RunError(
        f"cannot execute {report.path or name}: {report.strerror}",
        status=_NOT_FOUND if report.errno == errno.ENOENT else _NOT_EXECUTABLE,
        hint=hints.get(report.errno),
    )
