"""Hints of refusals say what was sent: the oracle is the request as the registry saw it."""

import io

import pytest

from knarr.errors import AuthError, RegistryError
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.registry.auth.credentials import Credentials, CredentialStore
from knarr.registry.auth.given_credentials import OneRegistry
from knarr.registry.client import Client
from knarr.registry.http.locations import resolve_location, resolve_realm
from knarr.registry.http.message import Request
from knarr.registry.http.retry import RetryPolicy
from knarr.registry.transfer.upload import BlobUpload
from support.faulty_registry import Answer, Asked, FaultyRegistry, Script

WHOSE = "the credentials of user bob from config.json"
CHALLENGE = {"WWW-Authenticate": 'Basic realm="x"'}


def _client(registry: FaultyRegistry, *, is_known: bool = True) -> Client:
    given = OneRegistry("tests", registry.host, Credentials("config.json", "bob", "hunter2"))
    store = CredentialStore(provider=given if is_known else None)
    return Client(credentials=store, policy=RetryPolicy(tries=1), sleep=lambda wait_s: None)


def _said(script: Script, *, is_known: bool = True) -> str:
    with FaultyRegistry(script) as registry, _client(registry, is_known=is_known) as client:
        endpoint = client.rules.push_endpoint(registry.host)
        asked = Request("GET", endpoint, endpoint.url("team/app", "manifests/1"), "read it", "team/app")
        with pytest.raises(RegistryError) as caught:
            client.fetch(asked)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def _locked(answer: Answer) -> Script:
    return lambda asked: answer if "authorization" in asked.headers else Answer(401, headers=CHALLENGE)


def test_what_was_not_asked_for_was_not_sent() -> None:
    said = _said(lambda asked: Answer(403))
    assert f"{WHOSE} were not sent: " in said
    assert "did not ask for them" in said
    assert f"{WHOSE} were tried" in _said(_locked(Answer(403)))
    assert "no credentials for" in _said(lambda asked: Answer(403), is_known=False)


def test_a_challenge_that_can_not_be_answered() -> None:
    said = _said(lambda asked: Answer(401, headers={"WWW-Authenticate": "Negotiate"}))
    assert "were tried" not in said


@pytest.mark.parametrize("status", [401, 403])
def test_other_hosts_see_none(status: int) -> None:
    with FaultyRegistry(lambda asked: Answer(status)) as storage:
        moved = Answer(307, headers={"Location": f"http://{storage.host}/x?sig=s"})
        said = _said(_locked(moved))
        assert all("authorization" not in asked.headers for asked in storage.asked)
    assert "were tried" not in said
    assert f"no credentials went to {storage.host}, where 127.0.0.1" in said


def test_an_upload_elsewhere_sees_none() -> None:
    data = b"layer"
    blob = Descriptor("application/octet-stream", Digest.of(data), len(data))
    with FaultyRegistry(lambda asked: Answer(403)) as storage:

        def script(asked: Asked) -> Answer:
            if "authorization" not in asked.headers:
                return Answer(401, headers=CHALLENGE)
            if asked.method == "HEAD":
                return Answer(404)
            return Answer(202, headers={"Location": f"http://{storage.host}/session"})

        with FaultyRegistry(script) as registry, _client(registry) as client:
            endpoint = client.rules.push_endpoint(registry.host)
            with pytest.raises(AuthError) as caught:
                BlobUpload(client, endpoint, "team/app", blob).run(lambda: io.BytesIO(data))
    assert "were tried" not in str(caught.value)
    assert f"no credentials went to {storage.host}" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "anonymous", "known"),
    [
        (404, "what it shows to who has logged in", "what these credentials may not see"),
        (429, "log in, wait, or use a mirror", "wait, or use a mirror"),
    ],
)
def test_who_has_logged_in_is_not_told_to(status: int, anonymous: str, known: str) -> None:
    assert anonymous in _said(lambda asked: Answer(status), is_known=False)
    said = _said(_locked(Answer(status)))
    assert known in said
    assert "log" not in said.partition("hint:")[2]


@pytest.mark.parametrize(
    ("registry", "realm", "said"),
    [
        ("https://a.invalid", "https://127.0.0.1/token", "only that machine itself can mean"),
        ("https://a.invalid", "https://localhost/token", "only that machine itself can mean"),
        ("https://a.invalid", "https://10.0.0.4/token", "only its own network can mean"),
        ("https://a.invalid", "https://169.254.169.254/token", "only its own network can mean"),
        ("https://a.invalid", "http://auth.invalid/token", "the token service must be an https URL"),
        ("https://a.invalid:5000", "http://a.invalid:5001/token", "the token service must be an https URL"),
    ],
)
def test_a_token_service_that_is_not_asked_is_explained(registry: str, realm: str, said: str) -> None:
    with pytest.raises(RegistryError) as caught:
        resolve_realm(registry, realm)
    assert f"hint: the token service {said.removeprefix('the token service ')}" in str(caught.value) or (
        f"the token service is at an address that {said}" in str(caught.value)
    )
    assert "--insecure-redirect" not in str(caught.value)


def test_a_plain_token_service_where_plain_http_is_meant() -> None:
    realm = "http://a.invalid:5001/token"
    assert resolve_realm("https://a.invalid:5000", realm, may_be_plain=True) == realm


def test_an_upload_at_a_local_address_is_explained() -> None:
    with pytest.raises(RegistryError, match="an address that is not for others") as caught:
        resolve_location("https://a.invalid/v2/", "https://127.0.0.1/x", registry_url="https://a.invalid")
    assert "the registry must name one by which others reach it" in str(caught.value)
