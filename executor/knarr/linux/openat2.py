"""The openat2 system call, which `os` lacks."""

import ctypes
import errno
import os

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437
"""The number is the same on all architectures, as for every system call since Linux 5.0."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory_fd: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2), with O_LARGEFILE as `os.open` has it; raises OSError."""
    how = _OpenHow(flags, 0, resolve)
    encoded = os.fsencode(path)
    while True:
        fd: int = _LIBC.syscall(
            _SYS_OPENAT2, directory_fd, ctypes.c_char_p(encoded), ctypes.byref(how), ctypes.sizeof(how)
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        # EAGAIN: something was renamed while the kernel looked.
        if number not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), path)
