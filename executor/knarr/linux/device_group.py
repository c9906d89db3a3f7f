"""A control group whose processes reach no devices but the harmless ones (cgroups(7)).

The rules are runc's defaults: any node may be made, and a few devices may be opened that every container has.
Without them a step of root could make a node of the machine's disk, and read it.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from knarr.linux import syscalls as sc
from knarr.linux.control_groups import OwnGroup

_CHARACTER_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
"""null, zero, full, random, urandom; tty, console, ptmx; terminals of any number."""
_UNKNOWN_DEVICE = os.makedev(4095, 1048575)
"""A number that no driver has."""


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """A control group of ours; a process joins it by writing 0 to `members`."""

    path: Path

    @property
    def members(self) -> Path:
        """The file with the group's processes."""
        return self.path / "cgroup.procs"

    def close(self) -> None:
        """Remove the group, which has no processes any more; one that has stays, and does no harm."""
        with suppress(OSError):
            self.path.rmdir()


def make_device_group(groups: Sequence[OwnGroup]) -> DeviceGroup | None:
    """A new group below this process's own; None where none can be made, restricted or joined.

    `groups` are this process's own. It has one thread: what can be joined is tried by a child of it.
    """
    legacy = next((group for group in groups if "devices" in group.controllers), None)
    own = legacy or next((group for group in groups if group.is_unified), None)
    if own is None:
        return None
    group = DeviceGroup(own.path / f"knarr-{os.urandom(6).hex()}")
    try:
        group.path.mkdir()
    except OSError:
        return None
    try:
        (_restrict_unified if own.is_unified else _restrict_legacy)(group.path)
    except OSError:
        group.close()
        return None
    if not _can_be_joined(group):
        group.close()
        return None
    return group


def _can_be_joined(group: DeviceGroup) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _write(group.members, "0")
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def refuses_unknown_devices(place: Path) -> bool:
    """Whether this process's own group has such rules already, as a container's has; tried in a directory."""
    node = place / f"device-{os.getpid()}"
    try:
        os.mknod(node, stat.S_IFCHR | 0o600, _UNKNOWN_DEVICE)
        os.close(os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EPERM and node.exists()  # ENXIO says that it was looked for
    finally:
        node.unlink(missing_ok=True)
    return False


def _restrict_legacy(group: Path) -> None:
    _write(group / "devices.deny", "a")
    for rule in ("c *:* m", "b *:* m"):
        _write(group / "devices.allow", rule)
    for major, minor in _CHARACTER_DEVICES:
        _write(group / "devices.allow", f"c {major}:{'*' if minor is None else minor} rwm")


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


# bpf(2) and linux/bpf.h.
_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2
_LOAD_WORD, _COPY, _SHIFT, _AND, _SET, _IF_EQUAL, _IF_NOT_EQUAL, _EXIT = (
    0x61,
    0xBF,
    0x77,
    0x57,
    0xB7,
    0x15,
    0x55,
    0x95,
)
_ACCESS_MKNOD, _CHARACTER = 1, 2
_ATTRIBUTE_BYTES = 120


def _restrict_unified(group: Path) -> None:
    number = _SYS_BPF.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    code = ctypes.create_string_buffer(device_program())
    license_name = ctypes.create_string_buffer(b"Apache")
    load = struct.pack(
        "=IIQQ",
        _TYPE_CGROUP_DEVICE,
        (len(code) - 1) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_name),
    )
    program = sc.bpf(number, _PROG_LOAD, load.ljust(_ATTRIBUTE_BYTES, b"\0"))
    try:
        directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attach = struct.pack("=IIII", directory, program, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
            sc.bpf(number, _PROG_ATTACH, attach.ljust(_ATTRIBUTE_BYTES, b"\0"))
        finally:
            os.close(directory)
    finally:
        os.close(program)


def device_program() -> bytes:
    """The rules as a BPF program. Registers 1 to 5: context, type, access, major, minor; 0 is the answer."""
    body: list[tuple[int, int, int, int, int]] = [
        (_LOAD_WORD, 2, 1, 0, 0),
        (_COPY, 3, 2, 0, 0),
        (_SHIFT, 3, 0, 0, 16),
        (_AND, 2, 0, 0, 0xFFFF),
        (_LOAD_WORD, 4, 1, 4, 0),
        (_LOAD_WORD, 5, 1, 8, 0),
    ]
    # Jumps go to the end, which allows, or to the two instructions before it, which refuse.
    tests: list[tuple[int, int, int, str]] = [
        (_IF_EQUAL, 3, _ACCESS_MKNOD, "allow"),
        (_IF_NOT_EQUAL, 2, _CHARACTER, "refuse"),
    ]
    for major, minor in _CHARACTER_DEVICES:
        if minor is None:
            tests.append((_IF_EQUAL, 4, major, "allow"))
        else:
            tests += [(_IF_NOT_EQUAL, 4, major, "next"), (_IF_EQUAL, 5, minor, "allow")]
    for index, (code, register, value, goal) in enumerate(tests):
        left = len(tests) - index - 1
        body.append((code, register, 0, {"next": 1, "refuse": left, "allow": left + 2}[goal], value))
    body += [(_SET, 0, 0, 0, 0), (_EXIT, 0, 0, 0, 0), (_SET, 0, 0, 0, 1), (_EXIT, 0, 0, 0, 0)]
    return b"".join(
        struct.pack("=BBhi", code, target | source << 4, offset, value)
        for code, target, source, offset, value in body
    )
