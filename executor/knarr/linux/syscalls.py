"""Linux system calls that `os` lacks, as functions that raise OSError.

Loaded by the small interpreter that starts each RUN step, where an import costs more than the work:
so nothing but `ctypes`, `errno` and `os` here. `typing` and `dataclasses` take longer than a whole step;
`__future__` is left out for the same reason, and annotations are quoted.
"""

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CAP_SYS_ADMIN = 21
CAP_LAST = 63

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

PROC_SUPER_MAGIC = 0x9FA0

FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NODEV = 0x4

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_SIGNAL = 64

# Calls younger than the C libraries we meet; from 424 on a number is the same on every architecture.
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SYS_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}
_RENAME_EXCHANGE = 0x2
_SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134, "riscv64": 134, "ppc64le": 173, "s390x": 174}
_SYS_RT_SIGPROCMASK = {"x86_64": 14, "aarch64": 135, "riscv64": 135, "ppc64le": 174, "s390x": 175}
_SIG_SETMASK = 2
_KERNEL_SIGSET_SIZE = 8
_STATFS_BYTES = 256  # more than the structure has anywhere

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_libc.signal.restype = ctypes.c_void_p
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, path: str | bytes | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def _syscall(number: int, *arguments: object) -> int:
    # Integers are passed as longs: a bare Python integer would become a 32-bit int on the stack.
    return int(_libc.syscall(ctypes.c_long(number), *(_long(each) for each in arguments)))


def _long(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` names for new ones; unshare(2)."""
    _checked(_libc.unshare(flags))


def mount(source: str, target: str, fstype: str | None, flags: int, options: str | None = None) -> None:
    """Call mount(2); the options are limited to 4095 bytes by the kernel."""
    kind = os.fsencode(fstype) if fstype is not None else None
    data = os.fsencode(options) if options is not None else None
    _checked(_libc.mount(os.fsencode(source), os.fsencode(target), kind, flags, data), target)


def umount(target: str, flags: int = 0) -> None:
    """Call umount2(2)."""
    _checked(_libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Call pivot_root(2)."""
    _checked(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), new_root)


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    """Call prctl(2) with one argument or two."""
    return _checked(_libc.prctl(option, argument, second, 0, 0))


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace."""
    encoded = name.encode("ascii", "replace")
    _checked(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def effective_capabilities() -> int:
    """The effective set of this thread as a bit mask; capget(2)."""
    data = (_CapData * 2)()
    _checked(_libc.capget(ctypes.byref(_CapHeader(_CAPABILITY_VERSION_3, 0)), data))
    return int(data[0].effective) | int(data[1].effective) << 32


def has_capability(number: int) -> bool:
    """Whether this thread's effective set holds the capability `number`."""
    return bool(effective_capabilities() >> number & 1)


def set_capabilities(mask: int) -> None:
    """Make `mask` the effective and permitted set, with nothing inheritable or ambient; capset(2)."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (_CapData * 2)(_CapData(low, low, 0), _CapData(high, high, 0))
    _checked(_libc.capset(ctypes.byref(_CapHeader(_CAPABILITY_VERSION_3, 0)), data))
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # kernels before 4.3 have no such set


def limit_bounding_set(mask: int) -> None:
    """Drop from the bounding set every capability that `mask` lacks."""
    for number in range(CAP_LAST + 1):
        present = _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0)
        if present < 0:
            return  # past the last one that this kernel knows
        if present and not mask >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def reset_signals() -> None:
    """Give every signal its default action, with none blocked, as a program expects at its start.

    The C library keeps two signals to itself and leaves them as the caller had them: hence the bare calls.
    """
    machine = os.uname().machine
    default = ctypes.create_string_buffer(64)  # zeros: SIG_DFL and no flags, or an empty mask
    if (action := _SYS_RT_SIGACTION.get(machine)) is None:
        for number in range(1, _LAST_SIGNAL + 1):
            _libc.signal(number, None)  # KILL and STOP refuse, as they should
        _libc.sigprocmask(_SIG_SETMASK, ctypes.create_string_buffer(128), None)
        return
    for number in range(1, _LAST_SIGNAL + 1):
        _syscall(action, number, default, None, _KERNEL_SIGSET_SIZE)  # KILL and STOP refuse
    _syscall(_SYS_RT_SIGPROCMASK[machine], _SIG_SETMASK, default, None, _KERNEL_SIGSET_SIZE)


def join_new_session_keyring() -> None:
    """Leave the session keyring inherited from the caller's login; nothing happens where refused."""
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is not None:
        _syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None)


def bpf(number: int, command: int, attributes: bytes) -> int:
    """Call bpf(2), whose number the caller knows; what comes is a descriptor or 0."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _checked(_syscall(number, command, buffer, len(attributes)))


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


# A function object of its own with its types, since this is called for every directory of a root.
_openat2 = _libc["syscall"]
_openat2.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_openat2.restype = ctypes.c_long
_OPEN_HOW_BYTES = ctypes.sizeof(_OpenHow)
_TRY_AGAIN = (errno.EAGAIN, errno.EINTR)
"""Something was renamed or mounted while the kernel looked; a signal came."""


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open `path` below a directory descriptor, which the caller closes; ENOSYS before Linux 5.6.

    Raises ValueError for a path with a NUL, as `os.open` does.
    """
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    while True:
        opened: int = _openat2(_SYS_OPENAT2, directory, encoded, ctypes.byref(how), _OPEN_HOW_BYTES)
        if opened >= 0:
            return opened
        number = ctypes.get_errno()
        if number not in _TRY_AGAIN:
            raise OSError(number, os.strerror(number), path)


def file_system_type(descriptor: int) -> int:
    """The magic number of the file system that an open file is on; fstatfs(2)."""
    status = ctypes.create_string_buffer(_STATFS_BYTES)
    _checked(_libc.fstatfs(descriptor, status))
    return ctypes.c_uint32.from_buffer(status).value  # the field is wider on some machines, all little-endian


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_setattr_recursive(directory: int, attributes: int) -> None:
    """Add MOUNT_ATTR_* flags to the mount at a descriptor and all below; ENOSYS before Linux 5.12."""
    attr = _MountAttr(attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    size = ctypes.sizeof(attr)
    _checked(_syscall(_SYS_MOUNT_SETATTR, directory, b"", flags, ctypes.byref(attr), size))


def fsopen(fstype: str) -> int:
    """A descriptor to configure a new file system with; ENOSYS before Linux 5.2."""
    return _checked(_syscall(_SYS_FSOPEN, os.fsencode(fstype), _FSOPEN_CLOEXEC))


def fsconfig(context: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """One configuration step for an fsopen descriptor; a value is limited to 255 bytes."""
    name = os.fsencode(key) if key is not None else None
    text = os.fsencode(value) if value is not None else None
    _checked(_syscall(_SYS_FSCONFIG, context, command, name, text, 0), key)


def fsmount(context: int, attributes: int) -> int:
    """A descriptor of the detached mount that a configured fsopen descriptor stands for."""
    return _checked(_syscall(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes))


def move_mount(mounted: int, target: str) -> None:
    """Attach a detached mount at `target`."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH
    result = _syscall(_SYS_MOVE_MOUNT, mounted, b"", _AT_FDCWD, os.fsencode(target), flags)
    _checked(result, target)


def exchange(first: str, second: str) -> None:
    """Give two paths each other's files in one step; EINVAL or ENOSYS where that is not to be had."""
    number = _SYS_RENAMEAT2.get(os.uname().machine, -1)  # no call has that number: ENOSYS
    paths = os.fsencode(first), os.fsencode(second)
    _checked(_syscall(number, _AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE), first)
