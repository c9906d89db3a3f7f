"""OpenSSH's server on a port of 127.0.0.1, with keys and users of its own, and its agent."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.free_port import free_port

_START_TIMEOUT_S = 20.0
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_OWN_PLACE = """\
import fcntl, os, socket, struct, subprocess, sys
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
layers = f"lowerdir={sys.argv[1]}:/etc"
subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, "/etc"], check=True)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Loopback is up, in a network of its own too; /etc is read-only, with another passwd.

A mount on that file alone would end as soon as somebody adds a user to the machine.
"""


@dataclass(frozen=True)
class SshServer:
    """A running server; who has the key may run commands as its user `git`, who has the rights of root."""

    address: str
    """`ssh://git@host:port`, to be followed by an absolute path."""
    key: Path
    """The private key that it takes."""
    known_hosts: str
    """The line of its own key."""
    home: Path
    """The home directory of root and git, where the server is."""
    process_id: int


@contextmanager
def ssh_server(directory: Path, *, own_network: bool = False) -> Iterator[SshServer]:
    """Start one; what it needs is in the directory, which must not be there yet.

    It has mounts of its own, with an /etc/passwd where git is a user and root's home is another. In a network
    of its own, with loopback alone, it has the usual port.
    """
    program = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    assert program is not None, "needs Debian's openssh-server"
    (directory / "home/.ssh").mkdir(parents=True)
    host_key, key = make_key(directory / "host"), make_key(directory / "user")
    (directory / "authorized").write_text(key.with_suffix(".pub").read_text())
    port = 22 if own_network else free_port()
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
    _write_users(directory)
    _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    unshare = ["unshare", "--mount", "--propagation=private", *(["--net"] if own_network else [])]
    place = [*unshare, sys.executable, "-c", _OWN_PLACE, str(directory / "etc")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*place, program, "-D", "-e", "-f", str(directory / "config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, directory / "log")
        public = host_key.with_suffix(".pub").read_text().rpartition(" ")[0]
        host = "127.0.0.1" if own_network else f"[127.0.0.1]:{port}"
        address = f"ssh://git@127.0.0.1:{port}"
        yield SshServer(address, key, f"{host} {public}\n", directory / "home", process.pid)
    finally:
        process.terminate()
        process.wait()


def _write_users(directory: Path) -> None:
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    others = [":".join(each) for each in users if each[0] not in ("root", "git")]
    login = [f"{name}:x:0:0::{directory}/home:/bin/sh" for name in ("root", "git")]
    (directory / "etc").mkdir()
    (directory / "etc/passwd").write_text("\n".join([*login, *others, ""]))


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
