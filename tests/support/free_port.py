"""Ports of 127.0.0.1 for servers that a test starts as processes of their own."""

import random
import socket
import time

from support.workers import worker_number

_START_TIMEOUT_S = 60.0
# Below Linux's ports for connections (ip_local_port_range), which would take one between look and use.
_PORTS = range(10_240, 32_768)
_MOST_WORKERS = 32


def free_port() -> int:
    """A port that nobody listens on now; another worker of pytest-xdist is never given it."""
    ports = _PORTS[worker_number() % _MOST_WORKERS :: _MOST_WORKERS]
    for port in random.sample(ports, len(ports)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no port is free")


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
