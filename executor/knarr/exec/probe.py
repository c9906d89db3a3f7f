"""What isolation this machine offers, found out by trying."""

import errno
import marshal
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from knarr.errors import IsolationError
from knarr.exec import namespaces
from knarr.exec.bundle import runs_from_image
from knarr.exec.refusals import NEW_USERS
from knarr.linux import syscalls as sc
from knarr.linux.overlay import mount_overlay, unmount

Requested = Literal["auto", "namespace", "inplace", "none"]
Mode = Literal["namespace", "inplace", "none"]

_INPLACE_NEEDS = {0: "CHOWN", 1: "DAC_OVERRIDE", 3: "FOWNER", 6: "SETGID", 7: "SETUID"}
"""Capabilities without which no image can be unpacked, and no step be run as its user."""

_MAX_ANSWER_BYTES = 16 * 1024
_INITIAL_NAMESPACES = {"pid": 0xEFFFFFFC, "ipc": 0xEFFFFFFF, "uts": 0xEFFFFFFE, "cgroup": 0xEFFFFFFB}
"""The inodes of the namespaces that the kernel starts with (Linux, include/linux/proc_ns.h)."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """How RUN steps are isolated: `reason` is one line for the log.

    `pid_namespace` says whether a step gets its own processes and /proc. In the mode `none`, `refusal` is the
    error for a build that has a RUN step after all; None where `none` was asked for.
    """

    mode: Mode
    reason: str
    pid_namespace: bool = False
    refusal: IsolationError | None = None


@dataclass(frozen=True, slots=True)
class OverlaySupport:
    """Whether overlay mounts work in a directory, with which extended attributes; `reason` is one line."""

    usable: bool
    userxattr: bool
    reason: str


def probe(requested: Requested, *, force: bool = False) -> Isolation:
    """Try, in a child process, what `namespaces.enter` will do; call it while there is one thread.

    `auto` falls back to `inplace` in an image of ours, then to `none`. `namespace` and `inplace` raise
    IsolationError, its hint naming what is missing. `force` has `inplace` where no container is to be seen.
    """
    if requested == "none":
        return Isolation("none", "none: asked for; no RUN step can be run")
    if requested == "inplace":
        return _inplace("asked for", force=force)
    try:
        text, own_pids = _in_child(_try_namespaces)
    except IsolationError as error:
        if requested == "namespace":
            raise
        return _without_namespaces(error, force=force)
    return Isolation("namespace", f"namespace: {text}", pid_namespace=bool(own_pids))


def _without_namespaces(refusal: IsolationError, *, force: bool) -> Isolation:
    """What `auto` chooses where there are no namespaces; it never builds in `/` of a machine of others."""
    if not runs_from_image():
        return Isolation("none", f"none: {refusal.message}", refusal=refusal)
    try:
        return _inplace(refusal.message, force=force)
    except IsolationError as error:
        reason = f"{refusal.message}, {error.message}"
        return Isolation("none", f"none: {reason}", refusal=IsolationError(reason, hint=error.hint))


def _inplace(why: str, *, force: bool) -> Isolation:
    if not runs_from_image():
        raise IsolationError(
            "cannot build in place: this is no container of a knarr image",
            hint="it would replace every file of this machine; use --isolation=namespace, or a knarr image",
        )
    if not force and not _in_container():
        raise IsolationError(
            "cannot build in place: this is no container, all its namespaces are the machine's own",
            hint="it would replace every file of this machine; --force does that",
        )
    if os.geteuid() != 0:
        raise IsolationError(
            f"cannot build in place as user {os.geteuid()}",
            hint="run the container as root: runAsUser: 0, runAsNonRoot: false",
        )
    missing = [name for number, name in _INPLACE_NEEDS.items() if not sc.has_capability(number)]
    if missing:
        raise IsolationError(
            f"cannot build in place without the capabilities {', '.join(missing)}",
            hint="a container has them unless they are dropped: see capabilities.drop of its securityContext",
        )
    if os.statvfs("/").f_flag & os.ST_RDONLY:
        raise IsolationError(
            "cannot build in place: the container's root file system is read-only",
            hint="readOnlyRootFilesystem: false in its securityContext",
        )
    return Isolation("inplace", f"inplace: {why}; RUN steps see this container's root file system replaced")


def _try_namespaces() -> tuple[str, bool]:
    """Enter the namespaces; say what they are, and whether pid namespaces with their own /proc work."""
    entered = namespaces.enter()
    parts = [_DESCRIPTIONS[entered.kind]]
    if entered.in_user_namespace:
        parts.append("one id only" if entered.single_id else f"{entered.uid_count} ids")
    refused = _try_own_proc()
    if refused:
        parts.append(f"no pid namespace ({refused})")
    return ", ".join(parts), not refused


_DESCRIPTIONS = {"mount": "root with CAP_SYS_ADMIN", "user": "user namespace"}


def _try_own_proc() -> str:
    """An empty text, or why a pid namespace with a fresh /proc can't be had."""
    try:
        sc.unshare(sc.CLONE_NEWPID)
    except OSError as error:
        return f"unshare: {error.strerror}"
    child = os.fork()
    if child == 0:
        try:
            sc.unshare(sc.CLONE_NEWNS)
            sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
        except OSError as error:
            os._exit(error.errno or errno.EPERM)
        finally:
            os._exit(0)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"a fresh /proc: {os.strerror(number)}" if number > 0 else ""


def _in_child(function: Callable[[], tuple[str, bool]]) -> tuple[str, bool]:
    """Call a function in a child process; its IsolationError is raised here."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _answer(function, write)
    os.close(write)
    with open(read, "rb") as pipe:
        answer = pipe.read(_MAX_ANSWER_BYTES)
    os.waitpid(child, 0)
    if not answer:
        raise IsolationError(
            f"cannot {NEW_USERS}: the process that tried it died",
            hint="a seccomp profile that kills, or a want of memory?",
        )
    kind, first, second = marshal.loads(answer)
    if kind == "refused":
        raise IsolationError(first, hint=second)
    return first, second


def _answer(function: Callable[[], tuple[str, bool]], write: int) -> None:
    try:
        try:
            answer: tuple[str, str, bool | str | None] = ("entered", *function())
        except IsolationError as error:
            answer = ("refused", error.message, error.hint)
        os.write(write, marshal.dumps(answer))
    finally:
        os._exit(0)


def probe_overlay(directory: Path, *, in_user_namespace: bool) -> OverlaySupport:
    """Try an overlay in `directory`, after `namespaces.enter`: two lowers, a whiteout, an opaque mark.

    `directory` exists and is left as it was.
    """
    place = Path(tempfile.mkdtemp(prefix="overlay-probe-", dir=directory))
    try:
        refused = _try_overlay(place, userxattr=in_user_namespace)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if refused:
        return OverlaySupport(usable=False, userxattr=in_user_namespace, reason=f"no overlayfs: {refused}")
    return OverlaySupport(usable=True, userxattr=in_user_namespace, reason="overlayfs")


def _try_overlay(place: Path, *, userxattr: bool) -> str:
    """An empty text, or what didn't work."""
    names = ("first", "second", "upper", "work", "merged")
    first, second, upper, work, merged = (place / name for name in names)
    try:
        for each in (first / "directory", second, upper, work, merged):
            each.mkdir(parents=True)
        for name in ("changed", "removed", "directory/below"):
            (first / name).touch()
        mount_overlay((second, first), upper, work, merged, userxattr=userxattr)
    except IsolationError as error:
        return error.message
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    try:
        return _use_overlay(
            upper, merged, marker="user.overlay.opaque" if userxattr else "trusted.overlay.opaque"
        )
    except OSError as error:
        return f"mounted, but a change in it failed: {error.strerror}"
    finally:
        unmount(merged)


def _use_overlay(upper: Path, merged: Path, *, marker: str) -> str:
    (merged / "changed").write_text("new")
    (merged / "removed").unlink()
    shutil.rmtree(merged / "directory")
    (merged / "directory").mkdir()
    if os.listdir(merged / "directory"):
        return "a replaced directory shows its old content"
    if not (upper / "removed").is_char_device():
        return "a removed file leaves no whiteout"
    if os.getxattr(upper / "directory", marker) != b"y":
        return "a replaced directory isn't marked"
    return ""


def _in_container() -> bool:
    """Whether any namespace of this process is not the machine's own."""
    return any(_namespace_inode(name) not in (number, None) for name, number in _INITIAL_NAMESPACES.items())


def _namespace_inode(name: str) -> int | None:
    try:
        return os.stat(f"/proc/self/ns/{name}").st_ino
    except OSError:
        return None  # a kernel without these
