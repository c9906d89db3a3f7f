import base64
import json
import os
from pathlib import Path

import pytest

from knarr.errors import AuthError
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import Credentials, CredentialStore


def _auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _store(document: object, helpers: CredentialHelpers | None = None) -> CredentialStore:
    return CredentialStore.parse(json.dumps(document).encode(), "config.json", helpers=helpers)


def _user(store: CredentialStore, registry: str, repository: str = "team/app") -> str | None:
    credentials = store.lookup(registry, repository).credentials
    return credentials.username if credentials is not None else None


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("registry.example.com", "registry.example.com"),
        ("https://registry.example.com", "registry.example.com"),
        ("https://registry.example.com/v1/", "registry.example.com"),
        ("http://registry.example.com/v2/", "registry.example.com"),
        ("Registry.Example.com", "registry.example.com"),
        ("registry.example.com:443", "registry.example.com"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://index.docker.io/v1", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
    ],
)
def test_key_forms(key: str, registry: str) -> None:
    assert _user(_store({"auths": {key: _auth("bob", "secret")}}), registry) == "bob"


@pytest.mark.parametrize(
    "registry",
    [
        "registry.example.com.evil.net",
        "evil-registry.example.com",
        "registry.example.com:5001",
        "example.com",
        "xregistry.example.com",
    ],
)
def test_lookalikes_get_nothing(registry: str) -> None:
    assert _user(_store({"auths": {"registry.example.com": _auth("bob", "secret")}}), registry) is None


def test_longest_path_first_and_never_outside_it() -> None:
    store = _store(
        {
            "auths": {
                "quay.io/team": _auth("robot", "1"),
                "quay.io/team/app": _auth("app", "2"),
                "quay.io/other": _auth("other", "3"),
            }
        }
    )
    assert _user(store, "quay.io", "team/app") == "app"
    assert _user(store, "quay.io", "team/app/sub") == "app"
    assert _user(store, "quay.io", "team/application") == "robot"
    assert _user(store, "quay.io", "teamster/app") is None
    assert _user(store, "quay.io", "") is None


def test_forms_of_an_entry() -> None:
    store = _store(
        {
            "auths": {
                "a.io": {"username": "ann", "password": "p:w"},
                "b.io": {**_auth("00000000", ""), "identitytoken": "refresh"},
                "c.io": {"registrytoken": "bearer"},
                "d.io": {"auth": "not base64!"},
                "e.io": _auth("user", "pass:with:colons"),
            }
        }
    )
    ann = store.lookup("a.io", "x").credentials
    assert ann is not None
    assert ann.basic == "Basic " + base64.b64encode(b"ann:p:w").decode()
    assert store.lookup("b.io", "x").credentials == Credentials("config.json", "00000000", "", "refresh")
    assert store.lookup("c.io", "x").credentials == Credentials("config.json", registry_token="bearer")
    broken = store.lookup("d.io", "x")
    assert broken.credentials is None
    assert broken.notes == ("config.json: `auth` is not the base64 of user:password",)
    colons = store.lookup("e.io", "x").credentials
    assert colons is not None
    assert colons.password == "pass:with:colons"


def test_secrets_are_in_no_repr() -> None:
    document = {
        "auths": {"a.io": {**_auth("ann", "hunter2"), "identitytoken": "hunter2", "registrytoken": "hunter2"}}
    }
    helpers = CredentialHelpers("/bin", {"TOKEN": "hunter2"})
    store = _store(document, helpers)
    assert "hunter2" not in repr(store) + repr(store.lookup("a.io", "x")) + repr(helpers)


def test_overlay_shadows_by_key() -> None:
    file = _store({"auths": {"a.io": _auth("file", "1"), "b.io": _auth("file", "1")}})
    environment = CredentialStore.parse(
        json.dumps({"auths": {"https://a.io/v1/": _auth("environment", "2")}}).encode(), "DOCKER_AUTH_CONFIG"
    )
    both = file.overlaid(environment)
    assert _user(both, "a.io") == "environment"
    assert _user(both, "b.io") == "file"
    assert both.sources == ("DOCKER_AUTH_CONFIG", "config.json")


@pytest.mark.parametrize("data", [b'{"auths": ', b"[]", b'{"auths": [1]}', b'{"auths": {"a": "hunter2"'])
def test_broken_file_says_which(data: bytes) -> None:
    with pytest.raises(AuthError, match=r"/root/\.docker/config\.json") as caught:
        CredentialStore.parse(data, "/root/.docker/config.json")
    assert "hunter2" not in str(caught.value)


def test_empty_file_has_nothing() -> None:
    assert _user(CredentialStore.parse(b"\n", "config.json"), "a.io") is None


def _helper(tmp_path: Path, name: str, script: str) -> CredentialHelpers:
    path = tmp_path / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return CredentialHelpers(str(tmp_path), {"PATH": os.defpath}, timeout_s=5)


def test_helper_is_asked_for_its_registry(tmp_path: Path) -> None:
    script = 'read server; test "$1" = get && echo "{\\"Username\\":\\"at $server\\",\\"Secret\\":\\"s\\"}"'
    store = _store({"credHelpers": {"ecr.example.com": "mine"}}, _helper(tmp_path, "mine", script))
    assert _user(store, "ecr.example.com") == "at ecr.example.com"
    assert _user(store, "other.example.com") is None
    hub = _store({"credsStore": "mine", "auths": {"https://index.docker.io/v1/": {}}}, store.helpers)
    assert _user(hub, "docker.io") == "at https://index.docker.io/v1/"


def test_helper_with_identity_token(tmp_path: Path) -> None:
    script = """echo '{"Username":"<token>","Secret":"refresh"}'"""
    store = _store({"credsStore": "mine"}, _helper(tmp_path, "mine", script))
    assert store.lookup("a.io", "x").credentials == Credentials(
        "docker-credential-mine", identity_token="refresh"
    )


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("echo credentials not found in native keychain; exit 1", None),
        ("echo hunter2; exit 3", "docker-credential-mine failed with status 3"),
        ("echo hunter2", "docker-credential-mine gave no JSON object"),
        ("echo '{}'", None),
    ],
)
def test_helper_without_an_answer(tmp_path: Path, script: str, note: str | None) -> None:
    found = _store({"credsStore": "mine"}, _helper(tmp_path, "mine", script)).lookup("a.io", "x")
    assert found.credentials is None
    assert found.notes == ((note,) if note else ())


def test_helper_that_hangs_is_ended(tmp_path: Path) -> None:
    helpers = CredentialHelpers(_helper(tmp_path, "slow", "exec sleep 30").search_path, {}, timeout_s=0.2)
    _helper(tmp_path, "slow", "exec /bin/sleep 30")
    found = _store({"credsStore": "slow"}, helpers).lookup("a.io", "x")
    assert found.notes == ("docker-credential-slow did not answer within 0.2 s",)


@pytest.mark.parametrize("name", ["absent", "../mine", "a/b", ""])
def test_missing_helper_is_a_note(tmp_path: Path, name: str) -> None:
    _helper(tmp_path, "mine", "exit 0")
    (tmp_path / "docker-credential-..").mkdir()
    helpers = CredentialHelpers(str(tmp_path), {})
    found = _store({"credHelpers": {"a.io": name}}, helpers).lookup("a.io", "x")
    assert found.credentials is None
    assert bool(found.notes) == bool(name)


PACKED = base64.b64encode(b"somebody:" + b"secret" * 12 + b"!").decode()


@pytest.mark.parametrize(
    "written",
    [
        PACKED,
        PACKED.rstrip("="),
        f"{PACKED}\n",
        f"  {PACKED} ",
        "\n".join(PACKED[start : start + 76] for start in range(0, len(PACKED), 76)),
        "\r\n".join(PACKED[start : start + 10] for start in range(0, len(PACKED), 10)),
    ],
    ids=["plain", "no-padding", "newline", "spaces", "lines", "dos-lines"],
)
def test_base64_as_tools_write_it(written: str) -> None:
    """`base64` breaks lines at 76; Go's decoder passes over line ends; ggcr's over missing padding, too."""
    assert PACKED.endswith("=")
    found = _store({"auths": {"a.io": {"auth": written}}}).lookup("a.io", "x").credentials
    assert found is not None
    assert (found.username, found.password) == ("somebody", "secret" * 12 + "!")


@pytest.mark.parametrize(
    "document",
    [
        {"auths": None},
        {"auths": None, "credHelpers": None, "credsStore": None, "HttpHeaders": None},
        {"auths": {"a.io": None}, "credHelpers": {"a.io": None}},
        {"auths": {"a.io": {"auth": None, "username": None, "password": None, "identitytoken": None}}},
    ],
)
def test_null_is_nothing(document: object) -> None:
    found = _store(document).lookup("a.io", "x")
    assert (found.credentials, found.notes) == (None, ())


def test_names_count_in_any_case() -> None:
    store = _store({"Auths": {"a.io": {"Auth": PACKED}, "b.io": {"IdentityToken": "refresh"}}})
    assert _user(store, "a.io") == "somebody"
    found = store.lookup("b.io", "x").credentials
    assert found is not None
    assert found.identity_token == "refresh"
