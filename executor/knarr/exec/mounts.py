"""The mounts that a RUN step sees: /proc, /sys, /dev, its resolver files, its own mounts.

Called in the step's new mount namespace while the old root is still `/`: whatever is mounted goes
through `/proc/self/fd/N` of a target opened inside the root, so a symlink in the image can't lead a
mount out of it. Nothing is created in the image: a target that is missing is left out, except for a
`Mount`, whose caller asked for it. What an image should have is in
`rootfs.mount_points`.

Every function raises OSError. The paths follow runc's defaults (runtime-spec config-linux.md, "Default
Filesystems", "Default Devices", "Masked Paths").
"""

import errno
import os
import stat

from knarr.linux import syscalls as sc
from knarr.linux.mounts import add_mount_flags, descriptor_path, make_readonly
from knarr.linux.resolve import open_in_root

TYPE_CHECKING = False  # `typing` would cost the step's interpreter more than all the mounts
if TYPE_CHECKING:
    from knarr.exec.spec import WireMount

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEV_DIRECTORIES = ("pts", "shm", "mqueue")
_DEV_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_READONLY_PATHS = ("proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger")
_MASKED_PATHS = (
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
)
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
_REFUSED = (errno.EPERM, errno.EACCES)
_SAFE = sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
_NO_PROGRAMS = sc.MS_NOSUID | sc.MS_NOEXEC
_BIND = sc.MS_BIND | sc.MS_REC


def open_root(root: str) -> int:
    """Make `root` a mount of its own, without device nodes; give its descriptor, which the caller closes.

    Programs run in it, setuid ones too, however the machine has mounted the file system that it lies on.
    """
    sc.mount(root, root, None, _BIND)
    add_mount_flags(root, sc.MS_NODEV, without=_NO_PROGRAMS)
    return os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def mount_proc(root: int, *, fresh: bool) -> None:
    """Mount /proc: of this pid namespace, or where not `fresh` the one that the executor sees."""
    target = _open_mountpoint(root, "proc")
    if target is None:
        return
    if fresh:
        sc.mount("proc", descriptor_path(target), "proc", _SAFE)
    else:
        sc.mount("/proc", descriptor_path(target), None, _BIND)
    os.close(target)


def mount_sys(root: int) -> None:
    """Mount /sys read-only; where this user namespace doesn't own the network, the executor's."""
    target = _open_mountpoint(root, "sys")
    if target is None:
        return
    try:
        sc.mount("sysfs", descriptor_path(target), "sysfs", _SAFE | sc.MS_RDONLY)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        sc.mount("/sys", descriptor_path(target), None, _BIND)
        _make_readonly(root, "sys")
    os.close(target)


def mount_dev(root: int, shm_bytes: int) -> None:
    """Mount a small /dev: the standard devices bound from outside, pts, shm, mqueue."""
    target = _open_mountpoint(root, "dev")
    if target is None:
        return
    sc.mount("tmpfs", descriptor_path(target), "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=755,size=65536k")
    os.close(target)
    dev = open_in_root(root, "dev")
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=dev))
            sc.mount(f"/dev/{name}", f"{descriptor_path(dev)}/{name}", None, sc.MS_BIND)
    for name in _DEV_DIRECTORIES:
        os.mkdir(name, 0o755, dir_fd=dev)
    for name, link in _DEV_LINKS.items():
        os.symlink(link, name, dir_fd=dev)
    _mount_pts(f"{descriptor_path(dev)}/pts")
    sc.mount("shm", f"{descriptor_path(dev)}/shm", "tmpfs", _SAFE, f"mode=1777,size={shm_bytes}")
    try:
        sc.mount("mqueue", f"{descriptor_path(dev)}/mqueue", "mqueue", _SAFE)
    except OSError as error:
        if error.errno not in (*_REFUSED, errno.ENODEV):  # a kernel without POSIX queues
            raise
    os.close(dev)


def _mount_pts(path: str) -> None:
    flags = sc.MS_NOSUID | sc.MS_NOEXEC
    options = "newinstance,ptmxmode=0666,mode=0620"
    try:
        sc.mount("devpts", path, "devpts", flags, f"{options},gid=5")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Group 5 (tty) is outside the ids of this user namespace.
        sc.mount("devpts", path, "devpts", flags, options)


def bind_file(root: int, source: str, target: str) -> None:
    """Bind the host file `source` read-only on `target` in the root, unless that is missing.

    Where `target` is a symlink to nowhere (`/run/systemd/resolve/...`), the link itself is covered.
    """
    opened = _open_file(root, target)
    if opened is None:
        return
    path = descriptor_path(opened)
    sc.mount(source, path, None, sc.MS_BIND)
    os.close(opened)
    covered = _open_file(root, target)
    if covered is not None:
        add_mount_flags(descriptor_path(covered), sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV)
        os.close(covered)


def _open_file(root: int, path: str) -> int | None:
    for flags in (os.O_PATH, os.O_PATH | os.O_NOFOLLOW):
        try:
            opened = open_in_root(root, path, flags)
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            continue
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            return opened
        os.close(opened)
    return None


def mount_extra(root: int, mount: "WireMount") -> None:
    """Make one mount that the step asked for; its target exists, or is made below /dev or in a mount."""
    target = mount["target"]
    source = mount["source"]
    is_directory = source is None or os.path.isdir(source)
    if target.startswith("/dev/"):
        _make_below_dev(root, target.removeprefix("/dev/"), is_directory=is_directory)
    if mount["make_target"]:
        os.close(_open_or_make(root, target, is_directory=is_directory))
    opened = open_in_root(root, target)
    if _is_same(opened, root):
        raise OSError(errno.EINVAL, "the mount's target is the root itself", target)
    if source is None:
        options = ",".join(mount["options"])
        sc.mount("tmpfs", descriptor_path(opened), "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, options)
    else:
        sc.mount(source, descriptor_path(opened), None, _BIND)
    os.close(opened)
    mounted = open_in_root(root, target)
    is_plain = source is None or "noexec" in mount["options"]
    add_mount_flags(descriptor_path(mounted), sc.MS_NODEV, without=0 if is_plain else _NO_PROGRAMS)
    os.close(mounted)
    if mount["readonly"]:
        _make_readonly(root, target)


def _make_below_dev(root: int, path: str, *, is_directory: bool) -> None:
    """Create a mount target in our own tmpfs, not in the /dev of an image where ours was left out."""
    dev = open_in_root(root, "dev")
    if os.fstat(dev).st_dev == os.fstat(root).st_dev:
        os.close(dev)
        return
    *parents, name = [part for part in path.split("/") if part not in ("", ".", "..")]
    for parent in (*parents, name) if is_directory else parents:
        try:
            os.mkdir(parent, 0o755, dir_fd=dev)
        except FileExistsError:
            pass
        below = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dev)
        os.close(dev)
        dev = below
    if not is_directory:
        os.close(os.open(name, os.O_CREAT | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=dev))
    os.close(dev)


def _open_or_make(root: int, path: str, *, is_directory: bool) -> int:
    """Open what is at a path, made with its parents where it is missing; the caller closes it."""
    try:
        return open_in_root(root, path)
    except FileNotFoundError:
        pass
    parent, _, name = path.rpartition("/")
    directory = _open_or_make(root, parent or "/", is_directory=True)
    try:
        if is_directory:
            os.mkdir(name, 0o755, dir_fd=directory)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=directory))
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def protect_kernel_files(root: int) -> None:
    """Make the dangerous parts of /proc and /sys read-only or empty."""
    for path in _READONLY_PATHS:
        if _bind_on_itself(root, path):
            _make_readonly(root, path)
    for path in _MASKED_PATHS:
        _mask(root, path)


def _bind_on_itself(root: int, path: str) -> bool:
    try:
        opened = open_in_root(root, path)
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return False
    sc.mount(descriptor_path(opened), descriptor_path(opened), None, _BIND)
    os.close(opened)
    return True


def _mask(root: int, path: str) -> None:
    try:
        opened = open_in_root(root, path)
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return
    if stat.S_ISDIR(os.fstat(opened).st_mode):
        sc.mount("tmpfs", descriptor_path(opened), "tmpfs", _SAFE | sc.MS_RDONLY, "size=0k")
    else:
        sc.mount("/dev/null", descriptor_path(opened), None, sc.MS_BIND)
    os.close(opened)


def _make_readonly(root: int, path: str) -> None:
    opened = open_in_root(root, path)
    make_readonly(opened)
    os.close(opened)


def _open_mountpoint(root: int, name: str) -> int | None:
    try:
        opened = open_in_root(root, name, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in _MISSING:
            return None
        raise
    if _is_same(opened, root):
        raise OSError(errno.EINVAL, "it is a symbolic link to the root itself", f"/{name}")
    return opened


def _is_same(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
