"""Overlay mounts: many read-only layers, at most one writable one, seen as one tree.

Every directory is named by descriptor (`/proc/self/fd/N`): no path needs escaping, none is too long.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from knarr.errors import IsolationError
from knarr.linux import syscalls as sc
from knarr.linux.mounts import add_mount_flags, descriptor_path

MAX_LOWERS = 500
"""The most layers that the kernel stacks (OVL_MAX_STACK)."""

_MAX_OPTIONS_BYTES = 4095
# The kernel's defaults come from its build: with these, the upper directory holds whole files only.
_PLAIN_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow"))
_USERXATTR_OPTIONS = (("index", "off"), ("userxattr", None))
# No option `lowerdir+` (before Linux 6.7), no fsopen (before 5.2), or one that a seccomp profile denies.
_NO_DESCRIPTOR_MOUNT = (errno.EINVAL, errno.ENOSYS, errno.EPERM)
_MOUNT_HERE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from knarr.linux import syscalls; "
    "syscalls.mount('overlay', sys.argv[2], 'overlay', int(sys.argv[3]), sys.argv[4])"
)


@dataclass(frozen=True, slots=True)
class _Layers:
    """The open directories of one overlay, topmost lower first."""

    lowers: tuple[int, ...]
    upper: int | None
    work: int | None
    options: tuple[tuple[str, str | None], ...]


def mount_overlay(
    lowers: Sequence[Path],
    upper: Path | None,
    work: Path | None,
    target: Path,
    *,
    userxattr: bool,
    volatile: bool = False,
    devices: bool = False,
) -> None:
    """Mount an overlay at `target`: `lowers` topmost first, at most 500; a read-only view without `upper`.

    `work` is an empty directory on the file system of `upper`. With `volatile`, fsync does nothing: for an
    upper directory that is thrown away after a crash. `userxattr` in a user namespace. Device nodes in it
    can be opened with `devices` alone. Raises IsolationError; then nothing is mounted.
    """
    if not 0 < len(lowers) <= MAX_LOWERS:
        raise IsolationError(
            f"cannot mount an overlay of {len(lowers)} layers: the kernel takes 1 to {MAX_LOWERS}"
        )
    try:
        if upper is None and len(lowers) == 1:
            _mount_readonly_bind(lowers[0], target)
            return
        with _open_layers(lowers, upper, work, _options(userxattr=userxattr, volatile=volatile)) as layers:
            try:
                _mount_by_descriptors(layers, target, devices=devices)
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR_MOUNT:
                    raise
                mount_by_options(layers, target, devices=devices)
    except OSError as error:
        raise IsolationError(
            f"cannot mount an overlay of {len(lowers)} layers at {target}: {error.strerror}",
            hint="is the directory itself on an overlay, or on a file system without extended attributes?",
        ) from error


def unmount(target: Path) -> None:
    """Unmount what is at `target`, or where busy let it go with its last user. Raises IsolationError."""
    try:
        try:
            sc.umount(str(target))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            sc.umount(str(target), sc.MNT_DETACH)
    except OSError as error:
        raise IsolationError(f"cannot unmount {target}: {error.strerror}") from error


def copy_root_metadata(source: Path, target: Path) -> None:
    """Give an upper directory the mode, owner and times of the lower one that it will cover.

    The root directory of an overlay looks as the upper directory does. Raises OSError.
    """
    facts = source.stat()
    os.chown(target, facts.st_uid, facts.st_gid)
    shutil.copystat(source, target)


def _options(*, userxattr: bool, volatile: bool) -> tuple[tuple[str, str | None], ...]:
    options: tuple[tuple[str, str | None], ...] = _USERXATTR_OPTIONS if userxattr else _PLAIN_OPTIONS
    return (*options, ("volatile", None)) if volatile else options


def _mount_readonly_bind(source: Path, target: Path) -> None:
    """One lower alone: an overlay would need two."""
    sc.mount(str(source), str(target), None, sc.MS_BIND)
    add_mount_flags(str(target), sc.MS_RDONLY | sc.MS_NODEV)


@contextmanager
def _open_layers(
    lowers: Sequence[Path],
    upper: Path | None,
    work: Path | None,
    options: tuple[tuple[str, str | None], ...],
) -> Iterator[_Layers]:
    opened: list[int] = []
    try:
        for path in (*lowers, upper, work if upper is not None else None):
            if path is not None:
                opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        writable = opened[len(lowers) :]
        upper_fd, work_fd = writable if upper is not None else (None, None)
        yield _Layers(tuple(opened[: len(lowers)]), upper_fd, work_fd, options)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _mount_by_descriptors(layers: _Layers, target: Path, *, devices: bool) -> None:
    """Mount through fsopen, one layer a call (Linux 6.7); raises OSError with nothing mounted."""
    context = sc.fsopen("overlay")
    try:
        for lower in layers.lowers:
            sc.fsconfig(context, sc.FSCONFIG_SET_STRING, "lowerdir+", descriptor_path(lower))
        for key, descriptor in (("upperdir", layers.upper), ("workdir", layers.work)):
            if descriptor is not None:
                sc.fsconfig(context, sc.FSCONFIG_SET_STRING, key, descriptor_path(descriptor))
        for key, value in layers.options:
            command = sc.FSCONFIG_SET_FLAG if value is None else sc.FSCONFIG_SET_STRING
            sc.fsconfig(context, command, key, value)
        sc.fsconfig(context, sc.FSCONFIG_CMD_CREATE)
        readonly = sc.MOUNT_ATTR_RDONLY if layers.upper is None else 0
        mounted = sc.fsmount(context, readonly | (0 if devices else sc.MOUNT_ATTR_NODEV))
    finally:
        os.close(context)
    try:
        sc.move_mount(mounted, str(target))
    finally:
        os.close(mounted)


def mount_by_options(layers: _Layers, target: Path, *, devices: bool = False) -> None:
    """Mount through mount(2), whose options fit a page; raises OSError with nothing mounted."""
    flags = (0 if devices else sc.MS_NODEV) | (sc.MS_RDONLY if layers.upper is None else 0)
    text = _option_text(layers, "/proc/self/fd/")
    if len(text) <= _MAX_OPTIONS_BYTES:
        sc.mount("overlay", str(target), "overlay", flags, text)
        return
    # Shorter names, relative to the directory of open files: another process's, since the working
    # directory belongs to all threads of this one.
    descriptors = [each for each in (*layers.lowers, layers.upper, layers.work) if each is not None]
    package_root = str(Path(__file__).resolve().parent.parent.parent)
    arguments = [package_root, str(target.absolute()), str(flags), _option_text(layers, "")]
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", _MOUNT_HERE, *arguments],
        cwd="/proc/self/fd",
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        pass_fds=descriptors,
        check=False,
    )
    if result.returncode:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        raise OSError(errno.EINVAL, lines[-1] if lines else "the mounting process died", str(target))


def _option_text(layers: _Layers, prefix: str) -> str:
    parts = ["lowerdir=" + ":".join(f"{prefix}{lower}" for lower in layers.lowers)]
    for key, descriptor in (("upperdir", layers.upper), ("workdir", layers.work)):
        if descriptor is not None:
            parts.append(f"{key}={prefix}{descriptor}")
    parts += [key if value is None else f"{key}={value}" for key, value in layers.options]
    return ",".join(parts)
