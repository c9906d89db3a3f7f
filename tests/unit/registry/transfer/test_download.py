"""Downloads of ADD, from servers that answer by script."""

import gzip
import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knarr.errors import ContextError, CorruptError
from knarr.oci.digest import Digest
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.transport import Timeouts
from knarr.registry.transfer.download import Download, basic_authorization, download
from support.faulty_registry import Answer, Asked, FaultyRegistry

BODY = b"content\n" * 1000
MODIFIED = "Sat, 01 Feb 2020 03:04:05 GMT"
AUTH = "Basic " + b64encode(b"me:p@w").decode()


@pytest.fixture
def client() -> Iterator[Client]:
    parent = Client(sleep=lambda wait_s: None, timeouts=Timeouts(connect_s=5, progress_s=0.5))
    with parent.for_downloads() as client:
        yield client


def by_path(answers: dict[str, Answer]) -> Callable[[Asked], Answer]:
    return lambda asked: answers.get(asked.path, Answer(404))


def test_whole_file(client: Client, tmp_path: Path) -> None:
    with FaultyRegistry(lambda asked: Answer(200, BODY, {"Last-Modified": MODIFIED})) as server:
        got = download(client, f"http://{server.host}/f?a=b", tmp_path / "f")
        assert server.lines == ["GET /f?a=b"]
        assert "authorization" not in server.asked[0].headers
        assert server.asked[0].headers["accept-encoding"] == "identity"
    assert got == Download(len(BODY), 1580526245 * 10**9, Digest.of(BODY))
    assert (tmp_path / "f").read_bytes() == BODY
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("header", [{}, {"Last-Modified": "yesterday"}, {"Last-Modified": ""}])
def test_no_time(client: Client, tmp_path: Path, header: dict[str, str]) -> None:
    with FaultyRegistry(lambda asked: Answer(200, b"", header)) as server:
        assert download(client, f"http://{server.host}/f", tmp_path / "f").mtime_ns == 0


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_checksum(client: Client, tmp_path: Path, algorithm: str) -> None:
    good = Digest(algorithm, hashlib.new(algorithm, BODY).hexdigest())
    bad = Digest(algorithm, hashlib.new(algorithm, b"").hexdigest())
    with FaultyRegistry(lambda asked: Answer(200, BODY)) as server:
        assert download(client, f"http://{server.host}/f", tmp_path / "f", checksum=good).digest == good
        with pytest.raises(CorruptError) as caught:
            download(client, f"http://{server.host}/f", tmp_path / "g", checksum=bad)
    assert str(good) in str(caught.value)
    assert str(bad) in str(caught.value)
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(401, b"no"),
        Answer(500),
        Answer(304),
        Answer(302),
        Answer(302, headers={"Location": "ftp://example.com/x"}),
        Answer(302, headers={"Location": "file:///etc/passwd"}),
        Answer(302, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
        Answer(302, headers={"Location": "/again"}),
    ],
)
def test_refused(client: Client, tmp_path: Path, answer: Answer) -> None:
    with FaultyRegistry(lambda asked: answer) as server:
        with pytest.raises(ContextError) as caught:
            download(
                client,
                f"http://{server.host}/f?token=covert",
                tmp_path / "f",
                authorization=basic_authorization("me:hidden"),
            )
        assert len(server.asked) <= 11
    assert f"http://{server.host}/f" in str(caught.value)
    assert caught.value.hint
    assert "covert" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_whether_credentials_were_sent(client: Client, tmp_path: Path, status: int) -> None:
    def hint(server: FaultyRegistry, authorization: str = "") -> str:
        with pytest.raises(ContextError) as caught:
            download(client, f"http://{server.host}/f", tmp_path / "f", authorization=authorization)
        return caught.value.hint or ""

    with FaultyRegistry(lambda asked: Answer(status)) as server:
        assert "it wants credentials" in hint(server)
        assert "are refused" in hint(server, AUTH)
        moved = Answer(302, headers={"Location": f"http://{server.host}/g"})
        with FaultyRegistry(lambda asked: moved) as elsewhere:
            assert "it wants credentials" in hint(elsewhere, AUTH)  # none went there


def test_credentials_stay_with_their_origin(client: Client, tmp_path: Path) -> None:
    with FaultyRegistry(lambda asked: Answer(200, BODY)) as other:
        answers = {
            "/f": Answer(302, headers={"Location": "/g"}),
            "/g": Answer(307, headers={"Location": f"http://{other.host}/h"}),
        }
        with FaultyRegistry(by_path(answers)) as server:
            download(
                client,
                f"http://{server.host}/f",
                tmp_path / "f",
                authorization=basic_authorization("me:p%40w"),
            )
            assert [asked.headers.get("authorization") for asked in server.asked] == [AUTH, AUTH]
        assert "authorization" not in other.asked[0].headers
    assert (tmp_path / "f").read_bytes() == BODY


def test_ten_redirects_are_followed(client: Client, tmp_path: Path) -> None:
    answers = {f"/{n}": Answer(302, headers={"Location": f"/{n + 1}"}) for n in range(10)}
    with FaultyRegistry(by_path({**answers, "/10": Answer(200, BODY)})) as server:
        download(client, f"http://{server.host}/0", tmp_path / "f")
        server.script = by_path({**answers, "/10": Answer(302, headers={"Location": "/0"})})
        with pytest.raises(ContextError, match="more than 10 redirects"):
            download(client, f"http://{server.host}/0", tmp_path / "g")


def test_faults_in_passing_are_healed(client: Client, tmp_path: Path) -> None:
    script = iter([Answer(None), Answer(503), Answer(200, BODY, cut_at=100), Answer(200, BODY)])
    with FaultyRegistry(lambda asked: next(script)) as server:
        assert download(client, f"http://{server.host}/f", tmp_path / "f").size_bytes == len(BODY)
        assert len(server.asked) == 4


@pytest.mark.parametrize("answer", [Answer(None), Answer(200, BODY, cut_at=10)])
def test_faults_that_stay(client: Client, tmp_path: Path, answer: Answer) -> None:
    with FaultyRegistry(lambda asked: answer) as server:
        with pytest.raises(ContextError):
            download(client, f"http://{server.host}/f", tmp_path / "f")
        assert len(server.asked) == client.policy.tries
    assert not (tmp_path / "f").exists()


def test_server_that_stalls(client: Client, tmp_path: Path) -> None:
    stalled = Answer(200, b"part", {"Content-Length": "1000"})
    with FaultyRegistry(lambda asked: stalled) as server:
        with pytest.raises(ContextError):
            download(client, f"http://{server.host}/f", tmp_path / "f")


def test_nobody_there(client: Client, tmp_path: Path) -> None:
    with FaultyRegistry(lambda asked: Answer(200)) as server:
        host = server.host
    with pytest.raises(ContextError) as caught:
        download(client, f"http://{host}/f", tmp_path / "f")
    assert "registry" not in str(caught.value)


@pytest.mark.parametrize("body", [BODY, gzip.compress(BODY)])
def test_too_large(client: Client, tmp_path: Path, body: bytes) -> None:
    headers = {} if body is BODY else {"Content-Encoding": "gzip"}
    with FaultyRegistry(lambda asked: Answer(200, body, headers)) as server:
        with pytest.raises(ContextError, match=f"larger than {len(BODY) - 1} bytes"):
            download(client, f"http://{server.host}/f", tmp_path / "f", limit_bytes=len(BODY) - 1)
        download(client, f"http://{server.host}/f", tmp_path / "g", limit_bytes=len(BODY))
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_content_encoding_is_undone(client: Client, tmp_path: Path) -> None:
    packed = gzip.compress(BODY) + gzip.compress(b"end")
    with FaultyRegistry(lambda asked: Answer(200, packed, {"Content-Encoding": "gzip"})) as server:
        download(client, f"http://{server.host}/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY + b"end"


@pytest.mark.parametrize("body", [b"none", gzip.compress(BODY)[:-3], b""])
def test_damaged_content_encoding(client: Client, tmp_path: Path, body: bytes) -> None:
    with FaultyRegistry(lambda asked: Answer(200, body, {"Content-Encoding": "gzip"})) as server:
        with pytest.raises(CorruptError):
            download(client, f"http://{server.host}/f", tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_what_was_said_of_registries_does_not_hold(tmp_path: Path) -> None:
    with FaultyRegistry(lambda asked: Answer(200)) as server:
        lax = Client(rules=HostRules(skip_verify=True, insecure_pull=True), sleep=lambda wait_s: None)
        with lax.for_downloads() as strict:
            assert strict.rules.tls(server.host).verify
            with pytest.raises(ContextError):
                download(strict, f"https://{server.host}/f", tmp_path / "f")
