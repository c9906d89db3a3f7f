"""Podman with a storage of its own, which leaves that of the machine alone."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Podman asks for more than some containers may have; then nothing would start.
_CONFIGURATION = '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\n'


@dataclass(frozen=True, slots=True)
class Podman:
    """Runs images; `close()` removes its storage."""

    directory: Path

    @classmethod
    def make(cls) -> "Podman":
        """A storage on a file system that carries overlays."""
        directory = Path(tempfile.mkdtemp(prefix="knarr-podman-", dir="/var/tmp"))
        (directory / "containers.conf").write_text(_CONFIGURATION)
        return cls(directory)

    def load(self, archive: Path) -> None:
        """Take in a docker-archive with the names that it holds."""
        self._podman("load", "--quiet", f"--input={archive}")

    def run(self, image: str, arguments: Sequence[str] = (), *, options: Sequence[str] = ()) -> str:
        """Pull over plain HTTP where needed, run once in the host's network; the result is the output."""
        return self._checked(self.run_to_end(image, arguments, options=options))

    def run_to_end(
        self, image: str, arguments: Sequence[str] = (), *, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """The same, whatever the exit status."""
        how = ("--rm", "--quiet", "--network=host", "--tls-verify=false")
        return self._to_end("run", *how, *options, image, *arguments)

    def play(self, pod: str, documents: str) -> dict[str, int]:
        """Run a Pod of Kubernetes to its end, with all else that the YAML documents hold.

        The result are the exit statuses of its containers by name; their logs go to this process's stderr.
        """
        file = self.directory / "play.yaml"
        file.write_text(documents)
        try:
            self._podman("kube", "play", "--quiet", "--tls-verify=false", "--log-driver=k8s-file", str(file))
            names = self._podman("ps", "--all", f"--filter=pod={pod}", "--format={{.Names}}").split()
            containers = [name for name in names if not name.endswith("-infra")]
            statuses = self._podman("wait", *containers).split()
            for name in containers:
                self._podman("logs", name, stderr=None)
            return dict(zip(containers, map(int, statuses), strict=True))
        finally:
            self._podman("pod", "rm", "--force", "--ignore", pod)

    def volume(self, name: str) -> Path:
        """The directory of a new volume, which claims of that name are bound to."""
        self._podman("volume", "create", name)
        return Path(self._podman("volume", "inspect", "--format={{.Mountpoint}}", name).strip())

    def secret(self, name: str, text: str) -> None:
        """Keep a secret, in place of one of that name; pods get those that are Secrets in YAML."""
        file = self.directory / "secret"
        file.write_text(text)
        self._podman("secret", "rm", "--all")
        # A pod is given a secret as a volume of its name, which the next pod would be given again.
        if name in self._podman("volume", "ls", "--quiet").split():
            self._podman("volume", "rm", name)
        self._podman("secret", "create", name, str(file))

    def close(self) -> None:
        """Remove everything."""
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted((each for each in mounts if each.startswith(f"{self.directory}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.directory)

    def _podman(self, *arguments: str, stderr: int | None = subprocess.PIPE) -> str:
        return self._checked(self._to_end(*arguments, stderr=stderr))

    @staticmethod
    def _checked(result: subprocess.CompletedProcess[str]) -> str:
        assert result.returncode == 0, result.stderr
        return result.stdout

    def _to_end(
        self, *arguments: str, stderr: int | None = subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        places = [f"--root={self.directory}/root", f"--runroot={self.directory}/run"]
        environment = {**os.environ, "CONTAINERS_CONF": str(self.directory / "containers.conf")}
        return subprocess.run(
            ["podman", *places, "--runtime=runc", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            stdin=subprocess.DEVNULL,
        )
