"""Registries that take long to answer once they have all bytes: they copy what they got to their store."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from knarr.errors import RegistryError
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.message import Request
from knarr.registry.http.retry import RetryPolicy
from knarr.registry.http.transport import Timeouts
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.memory_registry import MemoryRegistry
from support.registry import make_certificates, server_context
from support.registry_images import Events, SmallImage, push_image

IMAGE = SmallImage.of(b"only layer")
LAYER = IMAGE.manifest.layers[0]
STALL_S = 0.2
SLOW_S = 4 * STALL_S


class Slow:
    """Keeps the answers that begin so back."""

    def __init__(self, start: str, wait_s: float = SLOW_S) -> None:
        self.memory = MemoryRegistry()
        self.start = start
        self.wait_s = wait_s
        self.over = threading.Event()

    def __call__(self, asked: Asked) -> Answer:
        answer = self.memory(asked)
        if f"{asked.method} {asked.path}".startswith(self.start):
            self.over.wait(self.wait_s)
        return answer


@pytest.fixture(params=["http", "https"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Slow], FaultyRegistry]:
    """Registries in clear and with TLS, whose silence is read in another way."""
    context = None
    if request.param == "https":
        ca, certificate, key = make_certificates(tmp_path)
        context = server_context(certificate, key)
        assert ca

    def serve(script: Slow) -> FaultyRegistry:
        return FaultyRegistry(script, tls=context)

    return serve


def _client(registry: FaultyRegistry, *, answer_s: float = 60, events: Events | None = None) -> Client:
    is_tls = isinstance(registry._server.socket, ssl.SSLSocket)
    rules = HostRules(
        insecure_registries=() if is_tls else (registry.host,),
        skip_verify_registries=(registry.host,) if is_tls else (),
    )
    return Client(
        rules=rules,
        sleep=lambda wait_s: None,
        policy=RetryPolicy(tries=3),
        timeouts=Timeouts(5, STALL_S, answer_s),
        reporter=events,
    )


@pytest.mark.parametrize(
    "start",
    ["PUT /v2/team/app/blobs", "PUT /v2/team/app/manifests", "POST /v2/team/app/blobs/uploads/?mount"],
)
def test_it_is_waited_for_and_asked_once(served: Callable[[Slow], FaultyRegistry], start: str) -> None:
    slow, events = Slow(start), Events()
    with served(slow) as registry, _client(registry, events=events) as client:
        base = Reference.parse(f"{registry.host}/team/base:1")
        reference = Reference.parse(f"{registry.host}/team/app:1")
        push_image(client, reference, IMAGE, mount_from={LAYER.digest: base})
    assert len([line for line in registry.lines if line.startswith("PUT")]) == 3
    assert len([line for line in registry.lines if "mount=" in line]) == 1
    assert set(slow.memory.blobs) == {str(digest) for digest in IMAGE.blobs}
    notes = [event.text for event in events.events if isinstance(event, Note)]
    assert notes == ["127.0.0.1 has not answered yet; waiting"]


@pytest.mark.parametrize("start", ["PUT /v2/team/app/blobs", "PUT /v2/team/app/manifests"])
def test_the_waiting_has_an_end_and_is_not_begun_anew(
    served: Callable[[Slow], FaultyRegistry], start: str
) -> None:
    slow = Slow(start, wait_s=20)
    slow.memory.blobs = {str(LAYER.digest): b"only layer"}

    def forgetful(asked: Asked) -> Answer:
        if f"{asked.method} {asked.path}".startswith(start):
            slow.over.wait(20)
            return Answer(None)
        return slow.memory(asked)

    with served(slow) as registry:
        registry.script = forgetful
        with _client(registry, answer_s=SLOW_S) as client:
            with pytest.raises(RegistryError, match=r"no answer within 0\.8 s after the last byte") as caught:
                push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
        slow.over.set()
    assert "--registry-answer-timeout" in str(caught.value)
    assert len([line for line in registry.lines if line.startswith(start)]) == 1


def test_a_blob_that_is_there_when_the_waiting_ends_is_pushed(
    served: Callable[[Slow], FaultyRegistry],
) -> None:
    slow = Slow("PUT", wait_s=20)
    with served(slow) as registry:
        with _client(registry, answer_s=SLOW_S) as client:
            push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
        slow.over.set()
    assert len([line for line in registry.lines if line.startswith("PUT")]) == 3


def test_bytes_that_stop_on_their_way_are_a_stall_as_before() -> None:
    """The answer has begun: its store is done, whoever sends the rest so slowly."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                done.wait(20)

        thread = threading.Thread(target=answer)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        timeouts = Timeouts(5, STALL_S, 60)
        started = time.monotonic()
        with Client(policy=RetryPolicy(tries=1), timeouts=timeouts) as client:
            endpoint = client.rules.push_endpoint(host)
            with pytest.raises(RegistryError):
                client.fetch(Request("GET", endpoint, endpoint.url("a", "tags/list"), "list"))
        assert time.monotonic() - started < 10
        done.set()
        thread.join()


def test_a_cache_that_fetches_first_is_given_more_time_with_each_try() -> None:
    slow = Slow("GET", wait_s=1.5 * STALL_S)
    with FaultyRegistry(slow) as registry, _client(registry) as client:
        slow.memory.files = {"/v2/a/tags/list": b"well"}
        endpoint = client.rules.push_endpoint(registry.host)
        reply = client.fetch(Request("GET", endpoint, endpoint.url("a", "tags/list"), "list"))
    assert reply.body == b"well"
    assert len(registry.asked) == 2


def test_a_peer_that_is_gone_is_known_by_the_kernel() -> None:
    """Kept alive: two and a half minutes of silence from the kernel of the peer end a connection."""
    with FaultyRegistry(MemoryRegistry()) as registry, _client(registry) as client:
        endpoint = client.rules.push_endpoint(registry.host)
        request = Request("GET", endpoint, endpoint.url("a", "x"), "ask", accepted=frozenset({404}))
        response = client.open(request)
        connection = response._inner.extensions["network_stream"].get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, interval, count = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + interval * count == 150
        response.close()


def test_closing_the_client_ends_the_waiting(served: Callable[[Slow], FaultyRegistry]) -> None:
    slow, failed = Slow("PUT", wait_s=30), []
    with served(slow) as registry:
        client = _client(registry)

        def push() -> None:
            try:
                push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
            except RegistryError as error:
                failed.append(error)

        thread = threading.Thread(target=push)
        thread.start()
        while not any(line.startswith("PUT") for line in registry.lines):
            time.sleep(0.01)
        client.close()
        thread.join(10)
        slow.over.set()
    assert not thread.is_alive()
    assert failed


def test_fifteen_minutes_at_least() -> None:
    assert Timeouts().answer_s >= 15 * 60
    assert Timeouts().progress_s == 60
