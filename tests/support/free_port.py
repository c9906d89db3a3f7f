"""Ports of 127.0.0.1 for servers that a test starts as processes of their own."""

import socket
import time

_START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for_port(port: int, *, timeout_s: float = _START_TIMEOUT_S) -> None:
    """Return when somebody listens there; raises OSError when nobody does in time."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
