"""A proxy for HTTPS as companies have them: it knows hosts that its users can't look up."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_CHUNK_BYTES = 65536


@dataclass
class ConnectProxy:
    """A running proxy; `asked` are the hosts with ports that it was asked to reach."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def connect_proxy(hosts: Mapping[str, str]) -> Iterator[ConnectProxy]:
    """One on a free port of 127.0.0.1 that leads `hosts` to addresses, and refuses all others."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            proxy.asked.append(self.path)
            host, _, port = self.path.partition(":")
            if host not in hosts:
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            with socket.create_connection((hosts[host], int(port))) as far:
                self.send_response(HTTPStatus.OK)
                self.end_headers()
                back = threading.Thread(target=_pass_on, args=(far, self.connection))
                back.start()
                _pass_on(self.connection, far)
                back.join()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        proxy = ConnectProxy(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until one of the two closes."""
    try:
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
