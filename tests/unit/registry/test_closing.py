import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from knarr.errors import RegistryError
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.message import Request
from support.faulty_registry import Answer, FaultyRegistry
from support.registry import make_certificates, server_context


def _ask(client: Client, host: str) -> bytes:
    endpoint = client.rules.push_endpoint(host)
    return client.fetch(Request("GET", endpoint, endpoint.url("a", "tags/list"), "list")).body


def test_a_closed_client_connects_no_more() -> None:
    waits: list[float] = []
    with FaultyRegistry(lambda asked: Answer(200, b"well")) as registry:
        client = Client(sleep=waits.append)
        assert _ask(client, registry.host) == b"well"
        client.close()
        with pytest.raises(RegistryError, match="the client is closed"):
            _ask(client, registry.host)
    assert len(registry.asked) == 1
    assert not waits


def test_a_client_closed_while_it_connects_leaves_no_connection(tmp_path: Path) -> None:
    ca, certificate, key = make_certificates(tmp_path)
    context = server_context(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as other:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        client = Client(rules=HostRules(ca_files={host: ca}), sleep=lambda wait_s: None)
        asking = other.submit(_ask, client, host)
        raw, _ = server.accept()
        client.close()
        raw.settimeout(30)
        with context.wrap_socket(raw, server_side=True) as connection:
            while not connection.recv(65536).endswith(b"\r\n\r\n"):
                pass
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
            with pytest.raises(RegistryError, match="the client is closed"):
                asking.result()
            assert connection.recv(1) == b""
