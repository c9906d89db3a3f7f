"""A name server that knows one address for every name (RFC 1035)."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "127.0.0.77"
"""Where it listens, on port 53: resolv.conf has no room for another port."""

_HEADER_BYTES = 12
_TYPE_A = b"\0\1"


@contextmanager
def name_server(answer: str) -> Iterator[list[str]]:
    """Answer until the block ends; the list gets each name that was asked for."""
    asked: list[str] = []
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, 53))
        server.settimeout(0.1)
        ended = threading.Event()
        thread = threading.Thread(target=_serve, args=(server, ended, asked, socket.inet_aton(answer)))
        thread.start()
        try:
            yield asked
        finally:
            ended.set()
            thread.join()


def _serve(server: socket.socket, ended: threading.Event, asked: list[str], address: bytes) -> None:
    while not ended.is_set():
        try:
            query, client = server.recvfrom(512)
        except TimeoutError:
            continue
        name, question = _question(query)
        asked.append(name)
        # A pointer to the question's name, type A, class IN, one second, four bytes.
        answers = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + address if question.endswith(_TYPE_A + b"\0\1") else b""
        counts = b"\0\1" + (b"\0\1" if answers else b"\0\0") + bytes(4)
        server.sendto(query[:2] + b"\x81\x80" + counts + question + answers, client)


def _question(query: bytes) -> tuple[str, bytes]:
    labels, position = [], _HEADER_BYTES
    while query[position]:
        labels.append(query[position + 1 : position + 1 + query[position]].decode())
        position += 1 + query[position]
    return ".".join(labels), query[_HEADER_BYTES : position + 5]
