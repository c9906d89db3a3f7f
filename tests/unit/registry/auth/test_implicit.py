"""Credentials that nobody gave never block what is public: the oracle is what a registry gives to nobody."""

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from knarr.errors import AuthError, KnarrError
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.auth.credentials import Credentials, CredentialStore
from knarr.registry.auth.given_credentials import OneRegistry
from knarr.registry.client import Client
from knarr.registry.transfer.push import check_push
from knarr.registry.transfer.resolve import resolve
from support.faulty_registry import Answer, Asked, FaultyRegistry, Script
from support.registry_flags import IMAGE, Served, opened
from support.registry_images import Events

AMD64 = Platform.normalised("linux", "amd64")
MACHINE = "Basic " + base64.b64encode(b"machine:secret").decode()


def _bearer(service: Callable[[Asked], Answer], accepted: Callable[[str], Answer | None]) -> Script:
    """A registry of tokens; `accepted` is how it answers one, None for what it serves."""
    served = Served(IMAGE)

    def script(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return service(asked)
        token = asked.headers.get("authorization", "")
        realm = f'Bearer realm="http://{asked.headers["host"]}/token",service="s"'
        refused = Answer(401, headers={"WWW-Authenticate": realm})
        answer = accepted(token) if token else refused
        if answer is not None and answer.status == 401:
            return refused
        return answer or served(asked)

    return script


def _named(asked: Asked) -> Answer:
    who = b"machine" if "authorization" in asked.headers else b"nobody"
    return Answer(200, b'{"token": "' + who + b'"}')


def _refusing(status: int) -> Script:
    return lambda asked: Answer(status) if "authorization" in asked.headers else _named(asked)


def _no_machine(token: str) -> Answer | None:
    return Answer(403) if token.endswith("machine") else None


def _late(token: str) -> Answer | None:
    return Answer(401) if token.endswith("machine") else None


def _basic(status: int) -> Script:
    """Public for who shows nothing, where the machine is refused; asks who says nothing at first."""
    served = Served(IMAGE)
    asked_once: list[str] = []

    def script(asked: Asked) -> Answer:
        if "authorization" in asked.headers:
            return Answer(status, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if not asked_once:
            asked_once.append(asked.path)
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return served(asked)

    return script


def _tokens(status: int) -> Callable[[], Script]:
    return lambda: _bearer(_refusing(status), lambda _: None)


REGISTRIES: dict[str, Callable[[], Script]] = {
    **{f"token-{status}": _tokens(status) for status in (400, 401, 403, 404)},
    "registry-401": lambda: _bearer(_named, _late),
    "registry-403": lambda: _bearer(_named, _no_machine),
    "basic-401": lambda: _basic(401),
    "basic-403": lambda: _basic(403),
}


def _client(registry: FaultyRegistry, events: Events, *, is_implicit: bool) -> Client:
    given = Credentials("the metadata server", "machine", "secret", is_implicit=is_implicit)
    store = CredentialStore(provider=OneRegistry("cloud", registry.host, given))
    return Client(credentials=store, reporter=events, sleep=lambda wait_s: None)


def _notes(events: Events) -> list[str]:
    return [event.text for event in events.events if isinstance(event, Note)]


@pytest.mark.parametrize("name", REGISTRIES)
def test_what_is_public_is_read(name: str) -> None:
    events = Events()
    with FaultyRegistry(REGISTRIES[name]()) as registry:
        reference = Reference.parse(f"{registry.host}/public/base:1")
        with _client(registry, events, is_implicit=True) as client, client.for_cache(patient=True) as cache:
            for each in (client, client, cache):
                assert resolve(each, reference, AMD64).descriptor == IMAGE.descriptor
            shown = [asked for asked in registry.asked if asked.headers.get("authorization") == MACHINE]
        assert len(shown) == 1  # refused once, not shown again
    (note,) = _notes(events)
    assert "the credentials of user machine from the metadata server were refused" in note
    assert "/public/base" in note
    assert "going on without any" in note


@pytest.mark.parametrize("name", REGISTRIES)
def test_what_was_given_is_refused_aloud(name: str) -> None:
    events = Events()
    with FaultyRegistry(REGISTRIES[name]()) as registry:
        reference = Reference.parse(f"{registry.host}/public/base:1")
        with _client(registry, events, is_implicit=False) as client, pytest.raises(KnarrError) as caught:
            resolve(client, reference, AMD64)
    assert not _notes(events)
    if not name.endswith(("400", "404")):
        assert isinstance(caught.value, AuthError)
        assert "the credentials of user machine from the metadata server were tried" in str(caught.value)


def test_a_push_is_never_tried_without() -> None:
    events = Events()
    with FaultyRegistry(_bearer(_refusing(403), lambda _: None)) as registry:
        with (
            _client(registry, events, is_implicit=True) as client,
            pytest.raises(AuthError, match="403") as caught,
        ):
            check_push(client, Reference.parse(f"{registry.host}/own/app:1"))
    assert "the credentials of user machine from the metadata server were tried" in str(caught.value)
    assert all(
        "authorization" in asked.headers for asked in registry.asked if asked.path.startswith("/token")
    )


def test_what_is_not_public_says_both() -> None:
    events = Events()
    with FaultyRegistry(_bearer(lambda asked: Answer(403), lambda _: None)) as registry:
        with _client(registry, events, is_implicit=True) as client, pytest.raises(AuthError) as caught:
            resolve(client, Reference.parse(f"{registry.host}/own/app:1"), AMD64)
    assert "from the metadata server were refused, then none were sent" in str(caught.value)
    assert len(_notes(events)) == 1


def test_threads_fall_back_once() -> None:
    events = Events()
    with FaultyRegistry(_bearer(_named, _no_machine)) as registry:
        reference = Reference.parse(f"{registry.host}/public/base:1")
        with _client(registry, events, is_implicit=True) as client, ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _: resolve(client, reference, AMD64), range(24)):
                assert found.descriptor == IMAGE.descriptor
    assert len(_notes(events)) == 1


def test_other_repositories_still_see_them() -> None:
    """One public base says nothing of the private one beside it."""
    served = Served(IMAGE)

    def script(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return (
                Answer(403) if "public" in asked.path and "authorization" in asked.headers else _named(asked)
            )
        token = asked.headers.get("authorization", "")
        if token.endswith("machine" if "/own/" in asked.path else "nobody"):
            return served(asked)
        realm = f'Bearer realm="http://{asked.headers["host"]}/token",service="s"'
        return Answer(401, headers={"WWW-Authenticate": realm})

    with FaultyRegistry(script) as registry, _client(registry, Events(), is_implicit=True) as client:
        for name in ("public/base", "own/app", "public/base", "own/app"):
            reference = Reference.parse(f"{registry.host}/{name}:1")
            assert resolve(client, reference, AMD64).descriptor == IMAGE.descriptor


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"AZURE_CLIENT_ID": "machine", "AZURE_CLIENT_SECRET": "secret"}, "mine.azurecr.io"),
        (
            {"CI_REGISTRY": "registry.corp", "CI_REGISTRY_USER": "machine", "CI_REGISTRY_PASSWORD": "secret"},
            "registry.corp",
        ),
    ],
)
def test_providers_say_that_nobody_gave_them(environment: dict[str, str], name: str) -> None:
    """Whole clients of flags and environment, with a proxy for the world."""
    with FaultyRegistry(lambda asked: Answer(502)) as world:
        tokens = _bearer(_refusing(401), lambda _: None)

        def script(asked: Asked) -> Answer:
            if asked.method == "CONNECT":
                return Answer(502)
            path = asked.path.removeprefix(f"http://{name}")
            return tokens(Asked(asked.method, path, asked.headers, asked.body))

        world.script = script
        environment |= {"HTTP_PROXY": f"http://{world.host}", "HTTPS_PROXY": f"http://{world.host}"}
        found = opened(f"--insecure-registry={name}", environment=environment)
        with found.client:
            assert found.pull(f"{name}/public/base:1").descriptor == IMAGE.descriptor
        assert any("going on without any" in note for note in found.notes)
        given = {f"KANIKO_{name.upper().replace('.', '_')}_{each}": "x" for each in ("USER", "PASSWORD")}
        found = opened(f"--insecure-registry={name}", environment=environment | given)
        with found.client, pytest.raises(AuthError, match="401"):
            found.pull(f"{name}/public/base:1")
