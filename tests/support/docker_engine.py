"""A Docker engine of our own: started beside whatever runs already, stopped with everything it started."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCKERD = Path("/usr/sbin/dockerd")
DOCKER = Path("/usr/bin/docker")

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 60
_OVERLAY2_FILE_SYSTEMS = frozenset({"ext2/ext3", "xfs"})
_BUILDKIT_SIGN = "[internal] load build definition"


class EngineError(Exception):
    """The engine is missing, did not start, or ended too early."""


class RefusedError(EngineError):
    """A running engine refused a command."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine; `stop()` ends it with its containerd, then removes its data."""

    directory: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, registry_host: str) -> "Engine":
        """Start dockerd with the registry (plain HTTP) standing in for docker.io.

        Raises EngineError when it is not installed, when the directory for temporary files cannot
        carry overlay2, or when the engine does not answer in time.
        """
        _check_installed()
        # Not pytest's directory: sockets need short paths, the data a file system that overlay2 accepts.
        directory = Path(tempfile.mkdtemp(prefix="knarr-docker-", dir="/var/tmp"))
        engine = cls(directory, _spawn(directory, registry_host))
        try:
            _check_file_system(directory)
            engine._wait()
        except BaseException:
            engine.stop()
            raise
        return engine

    @property
    def url(self) -> str:
        """Where the engine listens, as DOCKER_HOST has it."""
        return f"unix://{self.directory}/socket"

    def stop(self) -> None:
        """End the engine; what it started ends with it."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _unmount_below(self.directory)
        shutil.rmtree(self.directory)

    def build(
        self,
        context: Path,
        dockerfile: Path,
        *,
        target: str | None = None,
        build_args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Build with the engine's BuildKit; give the image's id. Raises RefusedError with its output."""
        id_file = self.directory / "image-id"
        options = [
            *(["--target", target] if target else []),
            *(f"--build-arg={name}={value}" for name, value in (build_args or {}).items()),
            *(f"--label={name}={value}" for name, value in (labels or {}).items()),
        ]
        command = [
            "build",
            "--network=host",
            "--progress=plain",
            "--iidfile",
            str(id_file),
            "-f",
            str(dockerfile),
        ]
        result = self._docker([*command, *options, str(context)])
        if _BUILDKIT_SIGN not in result.stderr:
            raise EngineError(f"docker build did not use BuildKit:\n{result.stderr}")
        return id_file.read_text().strip()

    def save(self, image: str, archive: Path) -> None:
        """Write the image as a docker-archive."""
        self._docker(["save", "--output", str(archive), image])

    def load(self, archive: Path) -> None:
        """Take in a docker-archive with the names that it holds."""
        self._docker(["load", "--quiet", "--input", str(archive)])

    def pull(self, reference: str) -> None:
        """Pull an image."""
        self._docker(["pull", "--quiet", reference])

    def run(self, image: str, arguments: Sequence[str] = (), *, options: Sequence[str] = ()) -> str:
        """Run the image once in the host's network; the result is its standard output."""
        return self._docker(["run", "--rm", "--network=host", *options, image, *arguments]).stdout

    def run_to_end(
        self, image: str, arguments: Sequence[str] = (), *, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """The same, whatever the exit status."""
        return self._docker_to_end(["run", "--rm", "--network=host", *options, image, *arguments])

    def _docker(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        result = self._docker_to_end(arguments)
        if result.returncode:
            raise RefusedError(f"docker {' '.join(arguments)}: status {result.returncode}\n{result.stderr}")
        return result

    def _docker_to_end(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": str(self.directory),  # the user's own client configuration has no part in it
            "DOCKER_HOST": self.url,
            "DOCKER_BUILDKIT": "1",
        }
        result = subprocess.run(
            [DOCKER, *arguments], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if self.process.poll() is not None:
            raise EngineError(f"dockerd ended during docker {' '.join(arguments)}:\n{self._log_end()}")
        return result

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self._docker(["version", "--format", "{{.Server.Version}}"])
                return
            except RefusedError as error:
                if time.monotonic() > deadline:
                    raise EngineError(f"dockerd did not start: {error}\n{self._log_end()}") from error
                time.sleep(0.2)

    def _log_end(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-4000:]


def engine_version() -> str:
    """Give the version of the installed engine without starting it. Raises EngineError when it is missing."""
    _check_installed()
    return subprocess.run([DOCKERD, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def _unmount_below(directory: Path) -> None:
    """Unmount what an engine that crashed left mounted, the deepest first."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in sorted((path for path in mounted if path.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "--lazy", path], check=True)


def _check_installed() -> None:
    for program in (DOCKERD, DOCKER):
        if not program.exists():
            raise EngineError(f"{program} is missing; hint: install Debian's package docker.io")


def _check_file_system(directory: Path) -> None:
    command = ["stat", "--file-system", "--format=%T", str(directory)]
    kind = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if kind not in _OVERLAY2_FILE_SYSTEMS:
        raise EngineError(
            f"{directory} is on {kind}; hint: overlay2 needs ext4 or xfs, mount such a volume there"
        )


def _spawn(directory: Path, registry_host: str) -> subprocess.Popen[bytes]:
    command = [
        str(DOCKERD),
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        "--storage-driver=overlay2",
        f"--data-root={directory}/data",
        f"--exec-root={directory}/exec",
        f"--pidfile={directory}/pid",
        f"--host=unix://{directory}/socket",
        f"--registry-mirror=http://{registry_host}",
        f"--insecure-registry={registry_host}",
    ]
    with (directory / "log").open("wb") as log:
        # A session of its own: the terminal's Ctrl-C must not end it before `stop` does.
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
