"""Credentials for Google's registries, from a metadata server that is ours."""

import json
import os
from pathlib import Path

import pytest

from knarr.registry.auth.cloud_service import CloudService
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import Credentials
from knarr.registry.auth.google import METADATA_URL, GoogleProvider
from knarr.registry.http.proxies import Proxies
from knarr.registry.http.transport import Timeouts
from support.faulty_registry import Answer, Asked, FaultyRegistry

FLAVOR = {"Metadata-Flavor": "Google"}
NOBODY = "http://127.0.0.1:9/token"
REGISTRY = "eu.gcr.io"


def _token(asked: Asked) -> Answer:
    return Answer(200, b'{"access_token":"ya29.x","expires_in":1000,"token_type":"Bearer"}', FLAVOR)


def test_address_is_fixed() -> None:
    assert METADATA_URL.startswith("http://metadata.google.internal/computeMetadata/v1/")
    assert GoogleProvider().metadata_url == METADATA_URL


def test_token_of_the_machine() -> None:
    with FaultyRegistry(_token) as server:
        found = GoogleProvider(metadata_url=f"http://{server.host}/token").lookup(REGISTRY)
    assert found.credentials == Credentials("the metadata server", "oauth2accesstoken", "ya29.x")
    assert found.life_s == 1000
    assert server.asked[0].headers["metadata-flavor"] == "Google"
    assert "ya29" not in repr(found)


def test_others_registries_ask_nobody() -> None:
    with FaultyRegistry(_token) as server:
        provider = GoogleProvider(metadata_url=f"http://{server.host}/token")
        for registry in ("gcr.io.evil.com", "ghcr.io", "gcr.io:5000"):
            assert provider.lookup(registry).credentials is None
    assert not server.asked


def test_proxy_learns_nothing() -> None:
    with FaultyRegistry(_token) as proxy:
        service = CloudService(
            Proxies(http=f"http://{proxy.host}"), timeouts=Timeouts(connect_s=0.2, progress_s=0.2)
        )
        # An address of the documentation (RFC 5737), where nobody is.
        found = GoogleProvider(service=service, metadata_url="http://192.0.2.1/token").lookup(REGISTRY)
    assert not proxy.asked
    assert found.credentials is None


@pytest.mark.parametrize(
    ("answer", "remark"),
    [
        (Answer(200, b'{"access_token":"stolen"}'), "google: what answers as metadata server is not one"),
        (Answer(404, b"", FLAVOR), "google: the metadata server answered 404"),
        (Answer(302, b"", {**FLAVOR, "Location": "/x"}), "google: the metadata server answered 302"),
        (Answer(None), "google: there is no metadata server here"),
        (Answer(200, b"x" * 100_000, FLAVOR), "google: there is no metadata server here"),
    ],
)
def test_no_token_is_no_warning(answer: Answer, remark: str) -> None:
    with FaultyRegistry(lambda asked: answer) as server:
        found = GoogleProvider(metadata_url=f"http://{server.host}/token").lookup(REGISTRY)
    assert (found.credentials, found.notes, found.remarks) == (None, (), (remark,))
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b'{"access_token":"a\\r\\nb"}', b'{"access_token":7}'])
def test_nonsense_is_no_token(body: bytes) -> None:
    with FaultyRegistry(lambda asked: Answer(200, body, FLAVOR)) as server:
        found = GoogleProvider(metadata_url=f"http://{server.host}/token").lookup(REGISTRY)
    assert found.credentials is None
    assert found.notes == ("google: the metadata server gave no token",)


def test_key_file_of_a_service_account(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps({"type": "service_account", "private_key": "hunter2"}))
    provider = GoogleProvider(key, metadata_url=NOBODY)
    assert provider.lookup("us-docker.pkg.dev").credentials == Credentials(
        str(key), "_json_key", key.read_text()
    )
    assert provider.lookup("ghcr.io").credentials is None
    assert "hunter2" not in repr(provider.lookup("gcr.io"))


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (
            '{"type": "external_account"}',
            "holds external_account credentials, for which docker-credential-gcr",
        ),
        ("hunter2", "holds no key"),
        (None, "can't read"),
    ],
)
def test_other_key_files_are_a_note(tmp_path: Path, content: str | None, note: str) -> None:
    key = tmp_path / "key.json"
    if content is not None:
        key.write_text(content)
    found = GoogleProvider(key, metadata_url=NOBODY).lookup("gcr.io")
    assert found.credentials is None
    assert note in found.notes[0]
    assert str(key) in found.notes[0]
    assert "hunter2" not in found.notes[0]


def test_program_is_asked_before_the_machine(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-gcr"
    program.write_text(
        '#!/bin/sh\nread server; echo "{\\"Username\\":\\"at $server\\",\\"Secret\\":\\"s\\"}"\n'
    )
    program.chmod(0o755)
    helpers = CredentialHelpers(str(tmp_path), {"PATH": os.defpath})
    found = GoogleProvider(helpers=helpers, metadata_url=NOBODY).lookup("gcr.io")
    assert found.credentials == Credentials("docker-credential-gcr", "at gcr.io", "s")
