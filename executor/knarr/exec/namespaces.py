"""The executor's own namespaces, entered once at start while it has a single thread.

As root with CAP_SYS_ADMIN that is a mount namespace. For everybody else it is a user namespace as well, with
as many ids as can be had: those of the container for its root, those of /etc/subuid through newuidmap for an
ordinary user, or only one's own (user_namespaces(7)).
"""

import os
import pwd
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from knarr.exec.refusals import NEW_MOUNTS, NEW_USERS, refusal
from knarr.linux import syscalls as sc

_INITIAL_USER_NAMESPACE = 0xEFFFFFFD  # its inode number, PROC_USER_INIT_INO; maps may be whole elsewhere too
_MAP_TIMEOUT_S = 30.0
_MAX_SUBIDS_BYTES = 1024 * 1024
_MAX_RANGES = 300  # the kernel takes 340 lines in a map


@dataclass(frozen=True, slots=True)
class IdRange:
    """`count` ids from `start` on."""

    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Namespaces:
    """What the executor has: `kind` says what it entered, `uid_count` how many user ids it can own files as.

    With the kind "none" it stayed where it was started.
    `in_user_namespace` is also true for the root of a container that is in one; `single_id` means that
    setuid, setgid, chown to anything but 0 are impossible.
    """

    kind: Literal["mount", "user", "none"]
    in_user_namespace: bool
    single_id: bool
    uid_count: int
    gid_count: int


def enter() -> Namespaces:
    """Enter new namespaces with this process, which must have one thread; its user is 0 afterwards.

    Mounts made from then on are seen by nobody else. Raises IsolationError when refused.
    """
    if os.geteuid() == 0 and sc.has_capability(sc.CAP_SYS_ADMIN):
        kind: Literal["mount", "user"] = "mount"
        _unshare(sc.CLONE_NEWNS, NEW_MOUNTS)
    else:
        kind = "user"
        _enter_user_namespace()
    try:
        sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
    except OSError as error:
        raise refusal(NEW_MOUNTS, error) from error
    return _describe(kind)


def stay() -> Namespaces:
    """Describe the namespaces that this process was started in, without entering others."""
    return _describe("none")


def harden() -> None:
    """Make this process's memory, environment and descriptors unreadable to others; forbid core files.

    After `enter`: this also closes the process's own /proc files to it, its id maps among them.
    """
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _describe(kind: Literal["mount", "user", "none"]) -> Namespaces:
    uid_count = _mapped_ids("uid_map")
    gid_count = _mapped_ids("gid_map")
    return Namespaces(
        kind=kind,
        in_user_namespace=os.stat("/proc/self/ns/user").st_ino != _INITIAL_USER_NAMESPACE,
        single_id=uid_count == 1 or gid_count == 1,
        uid_count=uid_count,
        gid_count=gid_count,
    )


def _mapped_ids(name: str) -> int:
    return sum(each.count for each in _read_map(name))


def _read_map(name: str) -> list[IdRange]:
    """The ids mapped into this user namespace, as its inside numbers them."""
    lines = Path(f"/proc/self/{name}").read_text().splitlines()
    fields = [line.split() for line in lines]
    return [IdRange(int(inside), int(count)) for inside, _, count in fields]


def _unshare(flags: int, doing: str) -> None:
    try:
        sc.unshare(flags)
    except OSError as error:
        raise refusal(doing, error) from error


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    # The maps are written from outside: by a process that stays in the namespace we leave.
    mapper = os.fork()
    if mapper == 0:
        os.close(ready_write)
        os.close(done_read)
        _map_when_ready(os.getppid(), uid, gid, ready_read, done_write)
    os.close(ready_read)
    os.close(done_write)
    try:
        _unshare(sc.CLONE_NEWUSER | sc.CLONE_NEWNS, NEW_USERS)
        os.write(ready_write, b"1")
        mapped = os.read(done_read, 2)
    finally:
        os.close(ready_write)
        os.close(done_read)
        os.waitpid(mapper, 0)
    try:
        _map_what_is_left(mapped, uid, gid)
    except OSError as error:
        raise refusal(NEW_USERS, error) from error


def _map_what_is_left(mapped: bytes, uid: int, gid: int) -> None:
    """Map our own id alone where the mapper could do no better."""
    if b"g" not in mapped:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    if b"u" not in mapped:
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")


def _map_when_ready(target: int, uid: int, gid: int, ready: int, done: int) -> None:
    """Be the mapper: wait, write the maps of the process `target`, say which; never returns."""
    try:
        if os.read(ready, 1):
            mapped = _write_maps(target, uid, gid)
            os.write(done, mapped)
    finally:
        os._exit(0)


def _write_maps(target: int, uid: int, gid: int) -> bytes:
    # Groups first: without them the users would be worth nothing, and the single id needs both alike.
    if uid == 0 and _write_whole_map(target, "gid_map"):
        return b"gu" if _write_whole_map(target, "uid_map") else b"g"
    if not _run_map_program("newgidmap", target, gid, subordinate_ranges("/etc/subgid", os.getuid())):
        return b""
    if not _run_map_program("newuidmap", target, uid, subordinate_ranges("/etc/subuid", os.getuid())):
        return b"g"
    return b"gu"


def _write_whole_map(target: int, name: str) -> bool:
    """Give the namespace every id that we have, unchanged: needs CAP_SETUID, CAP_SETGID, CAP_SETFCAP."""
    ids = _read_map(name)
    text = "".join(f"{each.start} {each.start} {each.count}\n" for each in ids)
    try:
        Path(f"/proc/{target}/{name}").write_text(text)
    except OSError:
        return False
    return True


def _run_map_program(program: str, target: int, own: int, ranges: list[IdRange]) -> bool:
    if not ranges:
        return False
    numbers = [0, own, 1]
    inside = 1
    for each in ranges:
        numbers += [inside, each.start, each.count]
        inside += each.count
    try:
        result = subprocess.run(
            [program, str(target), *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MAP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def subordinate_ranges(file: str, uid: int) -> list[IdRange]:
    """The ranges that a file grants to a user, by number or by name (subuid(5)); none where unreadable."""
    owners = {str(uid)}
    try:
        owners.add(pwd.getpwuid(uid).pw_name)
    except KeyError:
        pass
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(_MAX_SUBIDS_BYTES).decode(errors="replace")
    except OSError:
        return []
    parsed = (_parse_line(line, owners) for line in text.splitlines())
    return [each for each in parsed if each is not None][:_MAX_RANGES]


def _parse_line(line: str, owners: set[str]) -> IdRange | None:
    owner, _, rest = line.strip().partition(":")
    start, _, count = rest.partition(":")
    if owner not in owners or not (start.isdecimal() and count.isdecimal()) or int(count) == 0:
        return None
    return IdRange(int(start), int(count))
