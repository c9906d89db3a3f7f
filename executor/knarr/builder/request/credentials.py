"""Secrets with SSH agents: what a step may see of them, for as long as it runs."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from knarr.dockerfile.language.mount import Mount
from knarr.errors import DockerfileError, IsolationError
from knarr.linux.overlay import unmount
from knarr.linux.pin import mount_memory


@dataclass(frozen=True, slots=True)
class Credentials:
    """What `--secret` and `--ssh` gave; never shown."""

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By id."""
    agents: Mapping[str, Path] = field(default_factory=dict)
    """Sockets of SSH agents by id."""

    def secret(self, mount: Mount) -> bytes | None:
        """The secret of a mount; None where it wasn't given. DockerfileError where it is required."""
        data = self.secrets.get(mount.id)
        if data is None and mount.required:
            raise DockerfileError(
                f"the secret {mount.id} is required, but was not given",
                hint=f"--secret id={mount.id},src=FILE",
            )
        return data

    def agent(self, mount: Mount) -> Path | None:
        """The agent's socket of a mount; None where it wasn't given. DockerfileError where it is required."""
        socket = self.agents.get(mount.id)
        if socket is None and mount.required:
            raise DockerfileError(
                f"the SSH agent {mount.id} is required, but was not given", hint=f"--ssh {mount.id}[=SOCKET]"
            )
        return socket


class SecretFiles:
    """Files in memory for one step, gone when `exits` ends; `place` does not exist yet.

    Where this process can't mount a memory, they are on disk, and the caller removes them.
    """

    def __init__(self, place: Path, exits: ExitStack, *, single_id: bool, can_mount: bool) -> None:
        self._place = place
        self._exits = exits
        self._single_id = single_id
        self._can_mount = can_mount
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
