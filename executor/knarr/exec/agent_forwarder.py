"""A socket for a step whose connections are forwarded to a socket of the machine, an agent's.

The step never sees the machine's socket. The forwarder is a process of its own: its socket has the owner and
mode that the step needs, while the agent sees the executor's user.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv[1]); from knarr.exec.agent_forwarder import serve; "
    "serve(int(sys.argv[2]), sys.argv[3])"
)
_CHUNK_BYTES = 64 * 1024


@contextmanager
def forwarded(place: Path, behind: Path, *, mode: int, owner: tuple[int, int] | None) -> Iterator[None]:
    """Make a socket at `place` that stands for the socket `behind` until the block ends.

    Without `owner` the socket belongs to this process's user. Raises OSError.
    """
    directory = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{directory}/{place.name}")  # the real path may be too long for it
            if owner is not None:
                os.chown(place, *owner)
            place.chmod(mode)
            listener.listen()
            process = _start(listener.fileno(), behind)
    finally:
        os.close(directory)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _start(descriptor: int, behind: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-I",
        "-S",
        "-B",
        "-c",
        _BOOTSTRAP,
        _PACKAGE_ROOT,
        str(descriptor),
        str(behind),
    ]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=[descriptor], env={}, start_new_session=True
    )


def serve(descriptor: int, behind: str) -> None:
    """Take connections until the executor is gone, each in a process of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    executor = os.getppid()
    with socket.socket(fileno=descriptor) as listener:
        listener.settimeout(1)
        while os.getppid() == executor:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                _forward(connection, behind)
            connection.close()


def _forward(connection: socket.socket, behind: str) -> None:
    """Copy what either side sends to the other until both have ended; never returns."""
    try:
        connection.setblocking(True)  # noqa: FBT003
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(behind)
            other = {connection: agent, agent: connection}
            while other:
                for ready in select.select(list(other), [], [])[0]:
                    data = ready.recv(_CHUNK_BYTES)
                    if data:
                        other[ready].sendall(data)
                    else:
                        other.pop(ready).shutdown(socket.SHUT_WR)
    except OSError:
        os._exit(1)
    os._exit(0)
