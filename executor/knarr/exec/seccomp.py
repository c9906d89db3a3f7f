"""A seccomp filter that closes the kernel's keyrings to a step.

No namespace separates keyrings: a step of root would have the keys of the machine's root, those of encrypted
disks and of Kerberos among them. Docker's default profile refuses the same calls.
"""

import ctypes
import errno
import os

from knarr.linux import syscalls as sc

_X86_64, _I386, _AARCH64, _ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
_X32_BIT = 0x40000000

# add_key, request_key, keyctl, by the architecture that the kernel says a call is of (audit.h); a process
# may change from a machine's own to its 32-bit calls at any time.
_NUMBERS: dict[str, dict[int, tuple[int, ...]]] = {
    "x86_64": {
        _X86_64: (248, 249, 250, _X32_BIT + 248, _X32_BIT + 249, _X32_BIT + 250),
        _I386: (286, 287, 288),
    },
    "aarch64": {_AARCH64: (217, 218, 219), _ARM: (309, 310, 311)},
}

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def close_keyrings() -> None:
    """Refuse the calls with EPERM, to this process with all that it starts; needs CAP_SYS_ADMIN.

    Nothing happens on an architecture whose numbers are not known here. Raises OSError.
    """
    numbers = _NUMBERS.get(os.uname().machine)
    if numbers is None:
        return
    code = [instruction for each in numbers.items() for instruction in _refusals(*each)]
    code.append(_Instruction(_RETURN, 0, 0, _ALLOW))
    program = _Program(len(code), (_Instruction * len(code))(*code))
    try:
        sc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel without filters
            raise


def _refusals(architecture: int, numbers: tuple[int, ...]) -> list[_Instruction]:
    """The part of the filter for one architecture: a call of another one goes on to what follows."""
    count = len(numbers)
    return [
        _Instruction(_LOAD_WORD, 0, 0, _ARCHITECTURE_OFFSET),
        _Instruction(_JUMP_IF_EQUAL, 0, count + 3, architecture),
        _Instruction(_LOAD_WORD, 0, 0, _NUMBER_OFFSET),
        *(_Instruction(_JUMP_IF_EQUAL, count - index, 0, number) for index, number in enumerate(numbers)),
        _Instruction(_RETURN, 0, 0, _ALLOW),
        _Instruction(_RETURN, 0, 0, _REFUSE),
    ]
