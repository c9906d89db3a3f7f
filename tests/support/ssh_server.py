"""OpenSSH's server on a port of 127.0.0.1, with keys of its own, and its agent."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_TIMEOUT_S = 20.0
_PRIVILEGE_SEPARATION = Path("/run/sshd")


@dataclass(frozen=True)
class SshServer:
    """A running server; who has the key may run commands as the user of the tests."""

    address: str
    """`ssh://user@host:port`, to be followed by an absolute path."""
    key: Path
    """The private key that it takes."""
    known_hosts: str
    """The line of its own key."""
    process_id: int


@contextmanager
def ssh_server(directory: Path, *, within: Sequence[str] = (), port: int = 0) -> Iterator[SshServer]:
    """Start one; keys and log are in the directory, which must not be there yet.

    `within` is a command that runs the one behind it in a place of its own; a port that is not given is any
    free one.
    """
    program = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    assert program is not None, "needs Debian's openssh-server"
    directory.mkdir()
    host_key, key = make_key(directory / "host"), make_key(directory / "user")
    (directory / "authorized").write_text(key.with_suffix(".pub").read_text())
    port = port or _free_port()
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": str(host_key),
        "AuthorizedKeysFile": str(directory / "authorized"),
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "AcceptEnv": "GIT_PROTOCOL",
    }
    (directory / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*within, program, "-D", "-e", "-f", str(directory / "config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, directory / "log")
        public = host_key.with_suffix(".pub").read_text().rpartition(" ")[0]
        host = "127.0.0.1" if port == 22 else f"[127.0.0.1]:{port}"
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
        yield SshServer(address, key, f"{host} {public}\n", process.pid)
    finally:
        process.terminate()
        process.wait()


def make_key(path: Path) -> Path:
    """A new private key, the public one beside it."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(path)], check=True
    )
    return path


@contextmanager
def ssh_agent(socket_path: Path, key: Path) -> Iterator[Path]:
    """An agent that holds the key; gives its socket."""
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(socket_path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as agent:
        try:
            _wait_for_file(socket_path)
            environment = {**os.environ, "SSH_AUTH_SOCK": str(socket_path)}
            subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
            yield socket_path
        finally:
            agent.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while "Server listening on" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def _wait_for_file(path: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.02)
