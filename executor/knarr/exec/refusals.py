"""Why the kernel refused a namespace: read from its error number, with the settings of this machine."""

import errno
from pathlib import Path

from knarr.errors import IsolationError

NEW_USERS = "create a user namespace"
NEW_MOUNTS = "create a mount namespace of its own"

_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")
_SETTINGS = (
    (
        Path("/proc/sys/user/max_user_namespaces"),
        "0",
        "user namespaces are switched off: sysctl user.max_user_namespaces is 0; set it to 10000 or so",
    ),
    (
        _CLONE,
        "0",
        "user namespaces are for root only: sysctl kernel.unprivileged_userns_clone is 0; set it to 1",
    ),
    (
        _APPARMOR,
        "1",
        "AppArmor denies user namespaces to programs without a profile: "
        "set sysctl kernel.apparmor_restrict_unprivileged_userns to 0, or load a profile that allows userns",
    ),
)
_SECCOMP_HINT = (
    "a seccomp profile denies it, as the default one of Docker and Kubernetes does: "
    "run the container with seccompProfile Unconfined in its securityContext, or give it CAP_SYS_ADMIN"
)
_BY_NUMBER = {
    errno.ENOSPC: "a limit on namespaces was reached: see sysctl user.max_user_namespaces, "
    "user.max_mnt_namespaces, user.max_pid_namespaces; namespaces nest 32 deep at most",
    errno.EINVAL: "this kernel was built without user namespaces (CONFIG_USER_NS)",
    errno.ENOSYS: "this kernel or sandbox has no namespaces",
    errno.EUSERS: "user namespaces nest 32 deep at most",
    errno.EACCES: "a security profile (AppArmor, SELinux) denies it: "
    "run the container with AppArmor Unconfined, or with a profile that allows mount",
}
_OTHERWISE = (
    "it needs CAP_SYS_ADMIN, or user namespaces that an ordinary user may create; "
    "a process that has called chroot may not either"
)


def refusal(doing: str, error: OSError) -> IsolationError:
    """The error that explains why `doing` failed here, with what to change as its hint."""
    return IsolationError(f"cannot {doing}: {error.strerror}", hint=_hint(doing, error.errno or 0))


def _hint(doing: str, number: int) -> str:
    if doing == NEW_USERS:
        for path, value, hint in _SETTINGS:
            if _read(path) == value:
                return hint
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    return _SECCOMP_HINT if _has_seccomp_filter() else _OTHERWISE


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _has_seccomp_filter() -> bool:
    return "Seccomp:\t2" in _read(Path("/proc/self/status"))
