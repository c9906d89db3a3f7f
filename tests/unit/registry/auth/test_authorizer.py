import base64
import json
import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from knarr.errors import AuthError, CorruptError, RegistryError
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import Credentials, CredentialStore
from knarr.registry.auth.given_credentials import OneRegistry
from knarr.registry.client import Client
from knarr.registry.http.message import Request, pull_scope, push_scope
from support.faulty_registry import Answer, Asked, FaultyRegistry


class TokenRegistry:
    """A registry with a token service of its own, where each token is good for `uses` requests."""

    def __init__(self, *, uses: int = 1000, answer: dict[str, object] | None = None) -> None:
        self.uses = uses
        self.answer = answer
        self.issued = 0
        self.left: dict[str, int] = {}
        self.token_answers: list[Answer] = []
        self.token_requests: list[Asked] = []
        self.realm = ""
        self.scope = ""

    def script(self, asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return self._token(asked)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if self.left.get(token, 0) > 0:
            self.left[token] -= 1
            return Answer(200, b"well")
        host = asked.headers["host"]
        realm = self.realm or f"http://{host}/token?extra=1"
        scope = f',scope="{self.scope}"' if self.scope else ""
        return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="us"{scope}'})

    def _token(self, asked: Asked) -> Answer:
        self.token_requests.append(asked)
        if self.token_answers:
            return self.token_answers.pop(0)
        self.issued += 1
        token = f"token-{self.issued}"
        self.left[token] = self.uses
        document = {"token": token} if self.answer is None else {**self.answer, "access_token": token}
        return Answer(200, json.dumps(document).encode())


def _ask(client: Client, registry: FaultyRegistry, *scopes: str) -> bytes:
    endpoint = client.rules.push_endpoint(registry.host)
    url = endpoint.url("team/app", "manifests/1")
    asked = Request("GET", endpoint, url, "read it", "team/app", scopes or (pull_scope("team/app"),))
    return client.fetch(asked).body


def _client(registry: FaultyRegistry, credentials: Credentials | None = None, **options: object) -> Client:
    known = OneRegistry("tests", registry.host, credentials) if credentials is not None else None
    store = CredentialStore(sources=("config.json",), provider=known)
    return Client(credentials=store, sleep=lambda wait_s: None, **options)  # type: ignore[arg-type]


def test_token_is_fetched_once_with_the_password() -> None:
    tokens = TokenRegistry()
    with FaultyRegistry(tokens.script) as registry:
        with _client(registry, Credentials("tests", "bob", "hunter2")) as client:
            for _ in range(3):
                assert _ask(client, registry, push_scope("team/app"), pull_scope("team/base")) == b"well"
    (asked,) = tokens.token_requests
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"bob:hunter2").decode()
    assert parse_qs(urlsplit(asked.path).query) == {
        "extra": ["1"],
        "service": ["us"],
        "scope": ["repository:team/app:pull,push", "repository:team/base:pull"],
    }
    assert [line.partition("?")[0] for line in registry.lines] == [
        "GET /v2/team/app/manifests/1",
        "GET /token",
        *["GET /v2/team/app/manifests/1"] * 3,
    ]


def test_anonymous_token_needs_no_password() -> None:
    tokens = TokenRegistry()
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        assert _ask(client, registry) == b"well"
    assert "authorization" not in tokens.token_requests[0].headers


def test_identity_token_is_exchanged_and_rotated() -> None:
    tokens = TokenRegistry(uses=1, answer={"refresh_token": "second"})
    with FaultyRegistry(tokens.script) as registry:
        with _client(registry, Credentials("tests", identity_token="first")) as client:
            _ask(client, registry)
            _ask(client, registry)
    assert [asked.method for asked in tokens.token_requests] == ["POST", "POST"]
    forms = [parse_qs(asked.body.decode()) for asked in tokens.token_requests]
    assert forms[0] == {
        "grant_type": ["refresh_token"],
        "service": ["us"],
        "scope": ["repository:team/app:pull"],
        "client_id": ["knarr"],
        "refresh_token": ["first"],
    }
    assert forms[1]["refresh_token"] == ["second"]


def test_registry_token_is_used_as_it_is() -> None:
    tokens = TokenRegistry()
    tokens.left["given"] = 5
    with FaultyRegistry(tokens.script) as registry:
        with _client(registry, Credentials("tests", registry_token="given")) as client:
            assert _ask(client, registry) == b"well"
    assert not tokens.token_requests


@pytest.mark.parametrize(
    ("expires_in", "life_s"), [(100, 80), (300.5, 240.4), (None, 48), ("soon", 48), (-1, 48), (0, 48)]
)
def test_token_is_renewed_before_it_ends(expires_in: object, life_s: float) -> None:
    tokens = TokenRegistry(answer={"expires_in": expires_in, "issued_at": "2001-01-01T00:00:00Z"})
    now = [1000.0]
    with FaultyRegistry(tokens.script) as registry, _client(registry, clock=lambda: now[0]) as client:
        _ask(client, registry)
        now[0] += life_s - 0.1
        _ask(client, registry)
        assert tokens.issued == 1
        now[0] += 0.2
        _ask(client, registry)
        assert tokens.issued == 2
        # Renewed in time: the old token was never refused.
        assert registry.lines.count("GET /v2/team/app/manifests/1") == 4


def test_token_that_ended_early_is_replaced() -> None:
    tokens = TokenRegistry(uses=1)
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        for _ in range(3):
            assert _ask(client, registry) == b"well"
    assert tokens.issued == 3


def test_token_service_is_asked_again_like_any_other() -> None:
    tokens = TokenRegistry()
    tokens.token_answers = [Answer(503), Answer(None), Answer(429)]
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        assert _ask(client, registry) == b"well"
    assert len(tokens.token_requests) == 4


def test_token_service_that_stays_away_ends_it() -> None:
    tokens = TokenRegistry()
    tokens.token_answers = [Answer(503)] * 50
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        with pytest.raises(RegistryError, match=r"can't get a token for \S+: GET \S+ answered 503"):
            _ask(client, registry)
    assert len(tokens.token_requests) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_refused_token_names_the_source(status: int) -> None:
    tokens = TokenRegistry()
    tokens.token_answers = [Answer(status, b'{"errors":[{"code":"DENIED","message":"no"}]}')] * 5
    with FaultyRegistry(tokens.script) as registry:
        with _client(registry, Credentials("/config.json", "bob", "hunter2")) as client:
            with pytest.raises(RegistryError, match=f"answered {status}: DENIED: no") as caught:
                _ask(client, registry)
    assert "hunter2" not in str(caught.value)
    if status in (401, 403):
        assert isinstance(caught.value, AuthError)
        assert "of user bob from /config.json" in str(caught.value)
    assert len(tokens.token_requests) == 1


@pytest.mark.parametrize("body", [b"{}", b'{"token": ""}', b'{"token": null}'])
def test_empty_token_is_no_token(body: bytes) -> None:
    tokens = TokenRegistry()
    tokens.token_answers = [Answer(200, body)] * 5
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        with pytest.raises(AuthError, match="answered 401") as caught:
            _ask(client, registry)
    assert "no credentials for" in str(caught.value)


@pytest.mark.parametrize("body", [b"[]", b"token", b'{"token": "a\\r\\nX: y"}'])
def test_nonsense_is_no_token(body: bytes) -> None:
    tokens = TokenRegistry()
    tokens.token_answers = [Answer(200, body)] * 5
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client, pytest.raises(AuthError):
        _ask(client, registry)


def test_huge_token_is_refused() -> None:
    tokens = TokenRegistry()
    tokens.token_answers = [Answer(200, b'{"token": "' + b"a" * 100_000 + b'"}')]
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client, pytest.raises(CorruptError):
        _ask(client, registry)


def test_token_that_is_never_accepted_ends_it() -> None:
    tokens = TokenRegistry(uses=0)
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        with pytest.raises(AuthError, match="answered 401"):
            _ask(client, registry)
    assert tokens.issued <= 3


@pytest.mark.parametrize(
    "realm", ["http://169.254.169.254/latest", "file:///token", "token", "http://u:p@127.0.0.1/token"]
)
def test_bad_realm_is_never_asked(realm: str) -> None:
    tokens = TokenRegistry()
    tokens.realm = realm
    with FaultyRegistry(tokens.script) as registry:
        with _client(registry, Credentials("tests", "bob", "hunter2")) as client:
            with pytest.raises(RegistryError):
                _ask(client, registry)
    assert len(registry.asked) == 1


def test_token_request_is_not_redirected() -> None:
    tokens = TokenRegistry()
    with FaultyRegistry(lambda asked: Answer(200, b'{"token": "x"}')) as thief:
        tokens.token_answers = [Answer(307, headers={"Location": f"http://{thief.host}/"})] * 5
        with FaultyRegistry(tokens.script) as registry:
            with _client(registry, Credentials("tests", "bob", "hunter2")) as client:
                with pytest.raises(RegistryError, match="answered 307"):
                    _ask(client, registry)
        assert not thief.asked


def test_scopes_of_the_challenge_follow_ours() -> None:
    tokens = TokenRegistry()
    tokens.scope = "repository:cache/team/app:pull repository:team/app:pull,push"
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        _ask(client, registry)
    assert parse_qs(urlsplit(tokens.token_requests[0].path).query)["scope"] == [
        "repository:team/app:pull",
        "repository:cache/team/app:pull",
    ]


def test_credentials_of_one_registry_are_not_for_another() -> None:
    challenge = Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with (
        FaultyRegistry(lambda asked: challenge) as registry,
        FaultyRegistry(lambda asked: challenge) as other,
    ):
        with _client(other, Credentials("tests", "bob", "hunter2")) as client:
            with pytest.raises(AuthError):
                _ask(client, registry)
        assert all("authorization" not in asked.headers for asked in registry.asked)


def test_prepared_client_runs_no_helper_but_knows_what_it_knew(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-mine"
    program.write_text(
        '#!/bin/sh\necho x >> "$LOG"; echo "{\\"Username\\":\\"bob\\",\\"Secret\\":\\"s\\"}"\n'
    )
    program.chmod(0o755)
    helpers = CredentialHelpers(str(tmp_path), {"PATH": os.defpath, "LOG": str(tmp_path / "log")})
    store = CredentialStore.parse(b'{"credsStore": "mine"}', "config.json", helpers=helpers)
    challenge = Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    def script(asked: Asked) -> Answer:
        return Answer(200, b"well") if "authorization" in asked.headers else challenge

    with FaultyRegistry(script) as registry, Client(credentials=store) as client:
        client.find_credentials(registry.host, "team/app")
        client.prepare()
        assert _ask(client, registry) == b"well"
    with FaultyRegistry(script) as other, Client(credentials=store) as client:
        with pytest.raises(AuthError, match="docker-credential-mine was not asked"):
            _ask(client, other)
    assert (tmp_path / "log").read_text() == "x\n"


def test_helper_is_asked_again_after_a_while(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-mine"
    program.write_text(
        '#!/bin/sh\necho x >> "$LOG"; echo "{\\"Username\\":\\"bob\\",\\"Secret\\":\\"s\\"}"\n'
    )
    program.chmod(0o755)
    helpers = CredentialHelpers(str(tmp_path), {"PATH": os.defpath, "LOG": str(tmp_path / "log")})
    store = CredentialStore.parse(b'{"credsStore": "mine"}', "config.json", helpers=helpers)
    challenge = Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    now = [0.0]

    def script(asked: Asked) -> Answer:
        return Answer(200, b"well") if "authorization" in asked.headers else challenge

    with FaultyRegistry(script) as registry, Client(credentials=store, clock=lambda: now[0]) as client:
        for now[0] in (0, 800, 901):
            _ask(client, registry)
    assert (tmp_path / "log").read_text() == "x\nx\n"


def test_rotated_token_is_known_to_the_client_of_the_cache() -> None:
    tokens = TokenRegistry(uses=1, answer={"refresh_token": "second"})
    with FaultyRegistry(tokens.script) as registry:
        with _client(registry, Credentials("tests", identity_token="first")) as client:
            _ask(client, registry)
            with client.for_cache(patient=True) as cache:
                _ask(cache, registry)
    forms = [parse_qs(asked.body.decode()) for asked in tokens.token_requests]
    assert [form["refresh_token"] for form in forms] == [["first"], ["second"]]


def test_scopes_of_a_challenge_are_not_for_other_requests() -> None:
    """A mirror names what it reads from for a pull; a push to it is another matter."""
    tokens = TokenRegistry()
    tokens.scope = "repository:upstream/app:pull"
    with FaultyRegistry(tokens.script) as registry, _client(registry) as client:
        _ask(client, registry)
        tokens.scope = ""
        _ask(client, registry, push_scope("team/app"))
        _ask(client, registry)
    assert [parse_qs(urlsplit(asked.path).query)["scope"] for asked in tokens.token_requests] == [
        ["repository:team/app:pull", "repository:upstream/app:pull"],
        ["repository:team/app:pull,push"],
    ]


@pytest.mark.parametrize(
    ("error", "scopes"),
    [
        ("insufficient_scope", ["repository:team/app:pull", "repository:team/app:pull,delete"]),
        ("invalid_token", ["repository:team/app:pull"]),
    ],
)
def test_more_is_asked_for_only_where_less_was_not_enough(error: str, scopes: list[str]) -> None:
    asked_for: list[list[str]] = []

    def script(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            asked_for.append(parse_qs(urlsplit(asked.path).query)["scope"])
            return Answer(200, json.dumps({"token": f"token-{len(asked_for)}"}).encode())
        if asked.headers.get("authorization") == "Bearer token-2":
            return Answer(200, b"well")
        realm = f'Bearer realm="http://{asked.headers["host"]}/token",error="{error}"'
        scope = ',scope="repository:team/app:pull,delete"'
        return Answer(401, headers={"WWW-Authenticate": realm + scope})

    with FaultyRegistry(script) as registry, _client(registry) as client:
        assert _ask(client, registry) == b"well"
    assert asked_for == [["repository:team/app:pull"], scopes]
