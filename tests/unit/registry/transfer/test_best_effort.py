"""Requests whose outcome nobody needs, and answers that the spec's next step makes good.

What counts as enough is what containerd's pusher takes (200, 201, 202, 204 for a blob).
"""

import socket
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from knarr.errors import RegistryError
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.http.retry import RetryPolicy
from knarr.registry.http.transport import Timeouts
from knarr.registry.transfer.push import check_push
from knarr.registry.transfer.resolve import resolve
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.memory_registry import MemoryRegistry
from support.registry_images import SmallImage, push_image

IMAGE = SmallImage.of(b"only layer")
PLATFORM = Platform("linux", "amd64")
LAYER = IMAGE.manifest.layers[0]
TOKEN = 'Bearer realm="http://{host}/token",service="tests"'

Script = Callable[[Asked], Answer]
FAULTS = {
    "reset": Answer(None),
    "server-error": Answer(500, b"oh"),
    "teapot": Answer(418),
    "range": Answer(416),
    "cut": Answer(200, b"abc", cut_at=1),
    "cut-error": Answer(404, b"abc", cut_at=1),
    "long": Answer(404, b"<html>" + bytes(200_000)),
    "garbage": Answer(200, b"\xff\xfe", {"Content-Type": "text/html", "Docker-Content-Digest": "none"}),
    "unavailable": Answer(503, headers={"Retry-After": "1"}),
}


def _client() -> Client:
    policy = RetryPolicy(tries=3)
    return Client(sleep=lambda wait_s: None, policy=policy, timeouts=Timeouts(2, 0.3))


def _when(start: str, answer: Answer, otherwise: Script) -> Script:
    def script(asked: Asked) -> Answer:
        return answer if f"{asked.method} {asked.path}".startswith(start) else otherwise(asked)

    return script


def _silent(asked: Asked) -> Answer:
    time.sleep(1)
    return Answer(None)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_upload_that_is_not_ended_ends_no_build(fault: str) -> None:
    with FaultyRegistry(_when("DELETE", FAULTS[fault], MemoryRegistry())) as registry, _client() as client:
        check_push(client, Reference.parse(f"{registry.host}/team/app"))
    assert registry.asked[-1].method == "DELETE"


def test_nor_does_one_whose_end_is_not_answered() -> None:
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        return _silent(asked) if asked.method == "DELETE" else memory(asked)

    with FaultyRegistry(script) as registry, _client() as client:
        check_push(client, Reference.parse(f"{registry.host}/team/app"))


def test_nor_one_at_a_host_that_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}/session"
    with FaultyRegistry(lambda asked: Answer(202, headers={"Location": gone})) as registry:
        with _client() as client:
            check_push(client, Reference.parse(f"{registry.host}/team/app"))


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("garbage", "cut")])
@pytest.mark.parametrize("path", ["blobs", "manifests"])
def test_who_asks_first_depends_on_no_answer(path: str, fault: str) -> None:
    memory = MemoryRegistry()
    with FaultyRegistry(_when(f"HEAD /v2/team/app/{path}", FAULTS[fault], memory)) as registry:
        with _client() as client:
            push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
            found = resolve(client, Reference.parse(f"{registry.host}/team/app:1"), PLATFORM)
    assert found.manifest == IMAGE.manifest
    assert set(memory.blobs) == {str(digest) for digest in IMAGE.blobs}


@pytest.mark.parametrize("stated", ["", "none", "sha256:zz", "sha384:00", "md5:" + "0" * 32])
def test_a_digest_that_is_none_is_no_digest(stated: str) -> None:
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        answer = memory(asked)
        headers = {**answer.headers, "Docker-Content-Digest": stated}
        return Answer(answer.status, answer.body, headers) if "/manifests/" in asked.path else answer

    with FaultyRegistry(memory) as registry, _client() as client:
        push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
    with FaultyRegistry(script) as registry, _client() as client:
        assert resolve(client, Reference.parse(f"{registry.host}/team/app:1"), PLATFORM).config


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_mounted_is_uploaded(fault: str) -> None:
    memory = MemoryRegistry()
    start = "POST /v2/team/app/blobs/uploads/?mount"
    with FaultyRegistry(_when(start, FAULTS[fault], memory)) as registry, _client() as client:
        base = Reference.parse(f"{registry.host}/team/base:1")
        push_image(
            client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE, mount_from={LAYER.digest: base}
        )
    assert any(line.startswith(start) for line in registry.lines)
    assert str(LAYER.digest) in memory.blobs


@pytest.mark.parametrize("fault", [*FAULTS, "not-json", "no-token", "bad-token", "redirect", "401", "403"])
def test_no_token_for_a_mount_means_upload(fault: str) -> None:
    """A token for the repository alone is given; one for both is answered with the fault."""
    answers = {
        **FAULTS,
        "not-json": Answer(200, b"hello"),
        "no-token": Answer(200, b"{}"),
        "bad-token": Answer(200, b'{"token":"a\\nb"}'),
        "redirect": Answer(307, headers={"Location": "ftp://x"}),
        "401": Answer(401),
        "403": Answer(403),
    }
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            both = "team%2Fbase" in asked.path or "team/base" in asked.path
            return answers[fault] if both else Answer(200, b'{"token":"good"}')
        if asked.headers.get("authorization") != "Bearer good" or "team/base" in asked.path:
            return Answer(401, headers={"WWW-Authenticate": TOKEN.format(host=asked.headers["host"])})
        return memory(asked)

    with FaultyRegistry(script) as registry, _client() as client:
        base = Reference.parse(f"{registry.host}/team/base:1")
        push_image(
            client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE, mount_from={LAYER.digest: base}
        )
    assert any("team/base" in line or "team%2Fbase" in line for line in registry.lines)
    assert str(LAYER.digest) in memory.blobs


class Chunky:
    """A registry that takes a PUT for a chunk: it answers 202, and keeps the blob at the PUT that follows."""

    def __init__(self, *, location: str) -> None:
        self.memory = MemoryRegistry()
        self.location = location
        self.pending: dict[str, bytes] = {}

    def __call__(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        if asked.method != "PUT" or "/uploads/" not in parts.path:
            return self.memory(asked)
        digest = parse_qs(parts.query)["digest"][0]
        if asked.body:
            self.pending[digest] = asked.body
            place = self.location.format(path=parts.path, query=parts.query)
            return Answer(202, headers={"Location": place} if place else {})
        self.memory.blobs[digest] = self.pending.pop(digest)
        return Answer(201)


@pytest.mark.parametrize("location", ["", "{path}", "{path}?state=2", "{path}?{query}"])
def test_bytes_that_were_taken_for_a_chunk_are_closed(location: str) -> None:
    chunky = Chunky(location=location)
    with FaultyRegistry(chunky) as registry, _client() as client:
        push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
    assert set(chunky.memory.blobs) == {str(digest) for digest in IMAGE.blobs}


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_each_way_to_say_that_it_is_kept(status: int) -> None:
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        answer = memory(asked)
        return Answer(status) if asked.method == "PUT" else answer

    with FaultyRegistry(script) as registry, _client() as client:
        push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
    puts = [line for line in registry.lines if line.startswith("PUT")]
    assert len(puts) == 3
    assert set(memory.blobs) == {str(digest) for digest in IMAGE.blobs}


@pytest.mark.parametrize("status", [200, 202, 204])
def test_each_way_to_begin_an_upload(status: int) -> None:
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        answer = memory(asked)
        return Answer(status, headers=answer.headers) if asked.method == "POST" else answer

    with FaultyRegistry(script) as registry, _client() as client:
        push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
    assert set(memory.blobs) == {str(digest) for digest in IMAGE.blobs}


def test_a_manifest_whose_answer_is_lost_each_time_is_there() -> None:
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        answer = memory(asked)
        return Answer(None) if asked.method == "PUT" and "/manifests/" in asked.path else answer

    with FaultyRegistry(script) as registry, _client() as client:
        digest = push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
    assert digest == IMAGE.descriptor.digest


def test_one_that_is_not_there_is_an_error() -> None:
    start = "PUT /v2/team/app/manifests"
    with FaultyRegistry(_when(start, Answer(None), MemoryRegistry())) as registry, _client() as client:
        with pytest.raises(RegistryError, match="can't push"):
            push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)


def test_the_answer_of_a_put_may_break_off() -> None:
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        answer = memory(asked)
        return Answer(201, b"what was kept", cut_at=4) if asked.method == "PUT" else answer

    with FaultyRegistry(script) as registry, _client() as client:
        push_image(client, Reference.parse(f"{registry.host}/team/app:1"), IMAGE)
    assert len([line for line in registry.lines if line.startswith("PUT")]) == 3


def test_what_an_error_says_is_heard_though_it_breaks_off() -> None:
    refused = Answer(403, b"denied: the quota is full", cut_at=18)
    with FaultyRegistry(_when("POST", refused, MemoryRegistry())) as registry, _client() as client:
        with pytest.raises(RegistryError, match="answered 403: denied: the quota"):
            check_push(client, Reference.parse(f"{registry.host}/team/app"))
    assert len(registry.asked) == 1
