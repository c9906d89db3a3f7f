"""The secrets of a step as files, there while the step runs."""

import os
from contextlib import ExitStack
from pathlib import Path

from knarr.dockerfile.language.mount import Mount
from knarr.errors import IsolationError
from knarr.exec.abilities import Abilities
from knarr.linux.overlay import unmount
from knarr.linux.pin import mount_memory


class SecretFiles:
    """Files in memory for one step, gone when `exits` ends; `place` is made for the first of them.

    Where this process can't mount a tmpfs they are on disk, and the caller removes them.
    """

    def __init__(self, place: Path, exits: ExitStack, abilities: Abilities) -> None:
        self._place = place
        self._exits = exits
        self._single_id = abilities.single_id
        self._can_mount = abilities.can_mount
        self._count = 0

    def write(self, mount: Mount, data: bytes) -> Path:
        """A file that holds a secret, with the mount's owner and mode. Raises IsolationError."""
        try:
            if not self._count:
                self._make_place()
            path = self._place / str(self._count)
            self._count += 1
            with open(path, "xb", opener=_private) as file:
                file.write(data)
                if not self._single_id:  # else every user of a step is the one that owns it
                    os.fchown(file.fileno(), mount.uid, mount.gid)
                os.fchmod(file.fileno(), mount.mode)
        except OSError as error:
            raise IsolationError(f"can't keep the secret {mount.id} for a step: {error.strerror}") from error
        return path

    def _make_place(self) -> None:
        if not self._can_mount:
            self._place.mkdir(mode=0o700)
            return
        mount_memory(self._place)
        self._exits.callback(unmount, self._place)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
