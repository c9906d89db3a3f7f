"""podman with a storage of its own, gone with the directory that it is given."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# podman's own may be higher than this process's, which takes a privilege.
_LIMITS = ("--ulimit=nofile=16384:16384", "--ulimit=nproc=16384:16384")


@dataclass(frozen=True, slots=True)
class Podman:
    """podman as root; nothing of it keeps running."""

    directory: Path

    def load(self, archive: Path) -> None:
        """Take in a docker-archive with the names that it holds."""
        self._podman("load", "--quiet", "--input", str(archive))

    def run(self, image: str, arguments: Sequence[str] = (), *, options: Sequence[str] = ()) -> str:
        """Run the image once in the host's network; the result is its standard output."""
        return self._podman("run", "--rm", "--network=host", *_LIMITS, *options, image, *arguments)

    def remove(self) -> None:
        """Remove the storage with all mounts below it."""
        self._podman("system", "reset", "--force")

    def _podman(self, *arguments: str) -> str:
        storage = ["--root", f"{self.directory}/root", "--runroot", f"{self.directory}/run"]
        # runc, which Docker uses: crun refuses a machine that has both versions of cgroups.
        settings = [
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
            "--storage-driver=vfs",
        ]
        result = subprocess.run(
            ["podman", *storage, *settings, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, f"podman {' '.join(arguments)}\n{result.stderr}"
        return result.stdout
