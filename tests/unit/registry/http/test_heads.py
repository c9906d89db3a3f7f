"""Servers whose answers never come to their point."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from knarr.errors import RegistryError
from knarr.registry.client import Client
from knarr.registry.http.message import Request
from knarr.registry.http.retry import RetryPolicy
from knarr.registry.http.transport import Timeouts

PAUSE_S = 0.02
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"

Send = Callable[[socket.socket, threading.Event], None]


@contextmanager
def _server(send: Send) -> Iterator[str]:
    """Reads a request of every connection, then lets `send` do as it likes until the block ends."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            send(connection, over)

    def accept(server: socket.socket) -> None:
        with suppress(OSError):
            while not over.is_set():
                connection, _ = server.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        over.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def _ask(host: str) -> bytes:
    policy, timeouts = RetryPolicy(tries=2), Timeouts(2, 0.2)
    with Client(sleep=lambda wait_s: None, policy=policy, timeouts=timeouts) as client:
        endpoint = client.rules.push_endpoint(host)
        return client.fetch(Request("GET", endpoint, endpoint.url("a", "tags/list"), "list")).body


def _drip(start: bytes) -> Send:
    def send(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.wait(PAUSE_S):
            connection.sendall(b"a")

    return send


def _flood(part: bytes) -> Send:
    def send(connection: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            connection.sendall(part * 1000)

    return send


@pytest.mark.parametrize(
    ("send", "said"),
    [
        (_drip(b"HTTP/1.1 200 OK\r\nX: "), "makes no way"),
        (_drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;"), "makes no way"),
        (_flood(b"HTTP/1.1 100 Continue\r\n\r\n"), "an answer begins with more than 1048576 bytes"),
        (_flood(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"), "begins with more than 1048576 bytes"),
        (_flood(b"HTTP/1.1 200 OK\r\nX: "), "too long"),
    ],
    ids=["slow-header", "slow-chunk", "100", "103", "header"],
)
def test_it_has_an_end(send: Send, said: str) -> None:
    with _server(send) as host, pytest.raises(RegistryError, match=said):
        _ask(host)


def test_interim_answers_are_passed_over() -> None:
    def send(connection: socket.socket, over: threading.Event) -> None:
        for part in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", WELL):
            connection.sendall(part)
            over.wait(PAUSE_S)

    with _server(send) as host:
        assert _ask(host) == b"well"


def test_a_large_body_is_no_head() -> None:
    def send(connection: socket.socket, over: threading.Event) -> None:
        size = 3 * 1024 * 1024
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        over.wait(10)

    with _server(send) as host:
        assert len(_ask(host)) == 3 * 1024 * 1024
