"""What a step binds from a source: held read-only, or under a layer that is thrown away."""

import errno
import os
from contextlib import ExitStack
from pathlib import Path

from knarr.errors import ContextError, IsolationError
from knarr.exec.abilities import Abilities
from knarr.linux.overlay import copy_root_metadata, mount_overlay, unmount
from knarr.linux.pin import pin
from knarr.rootfs.copying.write_tree import write_tree
from knarr.rootfs.dir_tree import DirTree

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class BindSources:
    """The sources of one step, mounted below `place` until `exits` ends.

    Where this process can't mount, sources are copied. The caller removes what is below `place` afterwards.
    """

    def __init__(self, place: Path, exits: ExitStack, abilities: Abilities) -> None:
        self._place = place
        self._exits = exits
        self._overlay_userxattr = abilities.overlay_userxattr
        self._can_mount = abilities.can_mount
        self._count = 0

    def hold(self, directory: Path, path: str, what: str) -> Path:
        """What `path` names inside a directory; read-only. ContextError names `what` where it is missing."""
        place = self._next("source")
        try:
            if not self._can_mount:
                return _copy_inside(directory, path, place)
            pin(directory, path, place)
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise ContextError(
                    f"the source of a mount, {path or '/'} of {what}, can't be found: {error.strerror}",
                    hint="symbolic links in it are followed inside its own root only",
                ) from error
            raise IsolationError(f"can't mount {path or '/'} of {what}: {error.strerror}") from error
        self._exits.callback(unmount, place)
        return place

    def writable(self, held: Path) -> Path:
        """The same for a step to write to; what it writes is lost at the end."""
        if not self._can_mount:
            return held  # a copy already
        if self._overlay_userxattr is not None and held.is_dir():
            try:
                return self._overlay(held, userxattr=self._overlay_userxattr)
            except IsolationError:
                pass  # overlays are stacked too high already, or the machine's file system can't be below one
        return self.copy(held, self._next("copy"))

    def copy(self, held: Path, target: Path) -> Path:
        """Copy what is held to a path that does not exist yet."""
        return _copy_inside(held.parent, held.name, target)

    def _overlay(self, held: Path, *, userxattr: bool) -> Path:
        upper, work, merged = self._next("upper"), self._next("work"), self._next("merged")
        for path in (upper, work, merged):
            path.mkdir()
        copy_root_metadata(held, upper)
        mount_overlay([held], upper, work, merged, userxattr=userxattr, volatile=True)
        self._exits.callback(unmount, merged)
        return merged

    def _next(self, kind: str) -> Path:
        self._count += 1
        return self._place / f"{kind}{self._count}"


def _copy_inside(directory: Path, path: str, target: Path) -> Path:
    """Copy what a path names inside a directory, its symlinks resolved there; OSError as `pin`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with DirTree(descriptor) as tree:
            resolved = tree.resolve(path)
            if tree.lookup(resolved) is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            write_tree(tree, resolved, target)
    finally:
        os.close(descriptor)
    return target
