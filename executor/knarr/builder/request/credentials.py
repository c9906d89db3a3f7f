"""The secrets and SSH agents that steps may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knarr.dockerfile.language.mount import Mount
from knarr.errors import DockerfileError


@dataclass(frozen=True, slots=True)
class BuildSecrets:
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
