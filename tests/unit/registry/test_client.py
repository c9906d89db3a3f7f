import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from knarr.errors import AuthError, CorruptError, RegistryError
from knarr.progress import Note
from knarr.registry.auth.credentials import Credentials, CredentialStore
from knarr.registry.auth.given_credentials import OneRegistry
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.message import Body, Request
from knarr.registry.http.proxies import Proxies
from knarr.registry.http.retry import RetryPolicy
from knarr.registry.http.transport import Timeouts
from support.faulty_registry import Answer, Asked, FaultyRegistry, Script
from support.registry_images import Events

OK = Answer(200, b"well")


def answers(*given: Answer) -> Script:
    """The given answers in turn, the last one for ever."""
    left = list(given)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def talking(script: Script, **options: object) -> Iterator[tuple[Client, FaultyRegistry, list[float]]]:
    """A client, what it talks to, and the waits it took."""
    waits: list[float] = []
    with FaultyRegistry(script) as registry:
        with Client(sleep=waits.append, **options) as client:  # type: ignore[arg-type]
            yield client, registry, waits


def request(client: Client, registry: FaultyRegistry, method: str = "GET", path: str = "thing") -> Request:
    endpoint = client.rules.push_endpoint(registry.host)
    return Request(
        method, endpoint, endpoint.url("team/app", path), "do it", "team/app", ("repository:team/app:pull",)
    )


@pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 522, None])
def test_a_passing_fault_is_not_seen(status: int | None) -> None:
    with talking(answers(Answer(status), OK)) as (client, registry, waits):
        assert client.fetch(request(client, registry)).body == b"well"
    assert len(registry.asked) == 2
    assert len(waits) == 1
    assert 0.4 < waits[0] < 0.6


def test_a_cut_answer_is_asked_for_again() -> None:
    with talking(answers(Answer(200, b"well done", cut_at=4), OK)) as (client, registry, _):
        assert client.fetch(request(client, registry)).body == b"well"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 501, 507])
def test_what_will_not_pass_is_not_repeated(status: int) -> None:
    with talking(answers(Answer(status))) as (client, registry, waits):
        with pytest.raises(RegistryError, match=rf"can't do it: GET http://\S+ answered {status}"):
            client.fetch(request(client, registry))
    assert len(registry.asked) == 1
    assert not waits


@pytest.mark.parametrize("status", [503, None])
def test_a_lasting_fault_ends(status: int | None) -> None:
    body = b'{"errors": [{"code": "UNAVAILABLE", "message": "gone\\u001b[31m fishing"}]}'
    with talking(answers(Answer(status, body))) as (client, registry, waits):
        with pytest.raises(RegistryError, match="can't do it") as caught:
            client.fetch(request(client, registry))
    assert len(registry.asked) == 5
    assert waits == pytest.approx([0.5, 1, 2, 4], rel=0.11)
    if status:
        assert "answered 503: UNAVAILABLE: gone\\x1b[31m fishing" in str(caught.value)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_for_the_host(status: int) -> None:
    slow = Answer(status, headers={"Retry-After": "17"})
    with talking(answers(slow, OK), clock=lambda: 5.0) as (client, registry, waits):
        client.fetch(request(client, registry))
        assert waits == [17.0]


def test_retry_after_beyond_the_budget_gives_up() -> None:
    slow = Answer(429, b"come back next year", {"Retry-After": "31536000"})
    with talking(answers(slow, OK)) as (client, registry, waits):
        with pytest.raises(RegistryError, match="come back next year") as caught:
            client.fetch(request(client, registry))
    assert len(registry.asked) == 1
    assert not waits
    assert "use a mirror" in str(caught.value)


def test_silence_has_an_end() -> None:
    import threading

    released = threading.Event()

    def silent(asked: Asked) -> Answer:
        released.wait(10)
        return OK

    with talking(silent, timeouts=Timeouts(2, 0.1), policy=RetryPolicy(tries=2)) as (client, registry, _):
        with pytest.raises(RegistryError, match="can't do it"):
            client.fetch(request(client, registry))
        released.set()


def test_dripping_has_an_end() -> None:
    ticks = iter(range(0, 1_000_000, 40))
    with talking(
        answers(Answer(200, b"drop")), clock=lambda: float(next(ticks)), policy=RetryPolicy(tries=2)
    ) as (client, registry, _):
        response = client.open(request(client, registry))
        assert response.read_some(100) == b"drop"
        response.close()
    ticks = iter(range(0, 1_000_000, 100))
    with talking(
        answers(Answer(200, b"drop")), clock=lambda: float(next(ticks)), policy=RetryPolicy(tries=2)
    ) as (client, registry, _):
        with pytest.raises(RegistryError, match="less than 16384 bytes came within 60 s"):
            client.fetch(request(client, registry))


def test_answers_have_a_limit() -> None:
    with talking(answers(Answer(200, bytes(1001)))) as (client, registry, _):
        with pytest.raises(CorruptError, match="larger than 1000 bytes"):
            client.fetch(request(client, registry), limit_bytes=1000)


def test_error_pages_are_bounded() -> None:
    with talking(answers(Answer(404, b"x" * 10_000_000))) as (client, registry, _):
        with pytest.raises(RegistryError) as caught:
            client.fetch(request(client, registry))
    assert len(str(caught.value)) < 1000


def test_html_is_not_shown() -> None:
    page = Answer(404, b"<html>" * 100, {"Content-Type": "text/html; charset=utf-8"})
    with talking(answers(page)) as (client, registry, _):
        with pytest.raises(RegistryError, match="an HTML page, not a registry's answer"):
            client.fetch(request(client, registry))


def test_body_is_sent_anew_on_each_try() -> None:
    import dataclasses

    with talking(answers(Answer(502), Answer(None), OK)) as (client, registry, _):
        data = b"cargo" * 1000
        asked = request(client, registry, "PUT")
        client.fetch(dataclasses.replace(asked, body=Body(lambda: io.BytesIO(data), len(data))))
    assert [asked.body for asked in registry.asked] == [data] * 3
    assert registry.asked[0].headers["content-length"] == "5000"


def test_headers_are_ours_alone() -> None:
    with talking(answers(Answer(200, headers={"Set-Cookie": "a=b"}))) as (client, registry, _):
        client.fetch(request(client, registry))
        client.fetch(request(client, registry))
    for asked in registry.asked:
        assert set(asked.headers) == {"host", "user-agent", "accept-encoding"}
        assert asked.headers["accept-encoding"] == "identity"
        assert asked.headers["user-agent"].startswith("knarr/")


def test_warnings_are_shown_once() -> None:
    events = Events()
    warned = Answer(200, headers={"Warning": '299 - "moving soon"'})
    with talking(answers(warned), reporter=events) as (client, registry, _):
        client.fetch(request(client, registry))
        client.fetch(request(client, registry))
        assert events.events == [Note(f"{registry.host} warns: moving soon", "warning")]


def _basic(registry_host: str) -> CredentialStore:
    return CredentialStore(
        provider=OneRegistry("tests", registry_host, Credentials("tests", "bob", "hunter2"))
    )


def _wants_basic(then: Callable[[Asked], Answer]) -> Script:
    def script(asked: Asked) -> Answer:
        if "authorization" not in asked.headers:
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="here"'})
        return then(asked)

    return script


def test_redirect_to_another_host_takes_no_credentials() -> None:
    with FaultyRegistry(answers(Answer(200, b"blob"))) as storage:
        elsewhere = Answer(307, headers={"Location": f"http://{storage.host}/signed?sig=1"})
        with FaultyRegistry(_wants_basic(lambda asked: elsewhere)) as registry:
            with Client(credentials=_basic(registry.host)) as client:
                assert client.fetch(request(client, registry)).body == b"blob"
        assert storage.lines == ["GET /signed?sig=1"]
        assert "authorization" not in storage.asked[0].headers


def test_a_challenge_after_a_redirect_is_not_answered() -> None:
    tempting = Answer(401, headers={"WWW-Authenticate": 'Basic realm="mine"'})
    with FaultyRegistry(answers(tempting)) as storage:
        elsewhere = Answer(302, headers={"Location": f"http://{storage.host}/x"})
        with FaultyRegistry(_wants_basic(lambda asked: elsewhere)) as registry:
            with Client(credentials=_basic(registry.host), sleep=lambda wait_s: None) as client:
                with pytest.raises(AuthError):
                    client.fetch(request(client, registry))
        assert storage.asked
        assert all("authorization" not in asked.headers for asked in storage.asked)


def test_an_expired_redirect_is_asked_for_anew() -> None:
    with FaultyRegistry(answers(Answer(403, b"expired"), OK)) as storage:
        elsewhere = Answer(307, headers={"Location": f"http://{storage.host}/signed"})
        with talking(answers(elsewhere)) as (client, registry, _):
            assert client.fetch(request(client, registry)).body == b"well"
            assert len(registry.asked) == 2


def test_redirect_on_the_same_host_keeps_credentials() -> None:
    def script(asked: Asked) -> Answer:
        return OK if asked.path == "/moved" else Answer(301, headers={"Location": "/moved"})

    with FaultyRegistry(_wants_basic(script)) as registry:
        with Client(credentials=_basic(registry.host)) as client:
            assert client.fetch(request(client, registry)).body == b"well"
        assert "authorization" in registry.asked[-1].headers


@pytest.mark.parametrize(
    "location", ["/again", "http://169.254.169.254/", "ftp://127.0.0.1/", "http://user:pw@127.0.0.1/"]
)
def test_redirects_have_limits(location: str) -> None:
    with talking(answers(Answer(302, headers={"Location": location}))) as (client, registry, _):
        with pytest.raises(RegistryError):
            client.fetch(request(client, registry))
        assert len(registry.asked) <= 6


def test_uploads_follow_no_redirect() -> None:
    with talking(answers(Answer(307, headers={"Location": "/x"}))) as (client, registry, _):
        with pytest.raises(RegistryError, match="answered 307"):
            client.fetch(request(client, registry, "PUT"))
        assert len(registry.asked) == 1


def test_proxy_is_used_with_its_password() -> None:
    with FaultyRegistry(answers(OK)) as proxy:
        proxies = Proxies(http=f"http://user:pass@{proxy.host}")
        rules = HostRules(insecure_registries=("registry.invalid",))
        with Client(rules=rules, proxies=proxies) as client:
            endpoint = client.rules.push_endpoint("registry.invalid")
            asked = Request("GET", endpoint, endpoint.url("a", "tags/list"), "list")
            assert client.fetch(asked).body == b"well"
        assert proxy.lines == ["GET http://registry.invalid/v2/a/tags/list"]
        assert proxy.asked[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"


def test_unknown_host_is_explained() -> None:
    with Client(sleep=lambda wait_s: None) as client:
        endpoint = client.rules.push_endpoint("no-such-host.invalid")
        with pytest.raises(RegistryError, match=r"no-such-host\.invalid can't be resolved") as caught:
            client.fetch(Request("GET", endpoint, endpoint.url("a", "tags/list"), "list"))
    assert "check the registry's name" in str(caught.value)
