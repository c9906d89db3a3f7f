"""Flags about registries that count for a push, the credentials that were tried."""

import base64
import json
from pathlib import Path

import pytest

from knarr.errors import AuthError, RegistryError
from knarr.oci.reference import Reference
from knarr.registry.transfer.push import check_push
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry import Registry
from support.registry_flags import IMAGE, OTHER, USER, Served, opened


def _immutable(status: int, code: str, message: str) -> Served:
    refused = Answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    class Immutable(Served):
        def _manifest(self, asked: Asked) -> Answer:
            return refused if asked.method == "PUT" else super()._manifest(asked)

    return Immutable(OTHER)


IMMUTABLE = [
    (400, "TAG_INVALID", "cannot be overwritten because the tag is immutable"),
    (412, "PRECONDITION", "configured as immutable"),
    (409, "CONFLICT", ""),
    (403, "DENIED", "tag is immutable"),
]


@pytest.mark.parametrize(("status", "code", "message"), IMMUTABLE)
def test_immutable_tag_is_left_with_a_warning(status: int, code: str, message: str) -> None:
    with FaultyRegistry(_immutable(status, code, message)) as served:
        found = opened("--push-ignore-immutable-tag-errors")
        with found.client:
            found.push(f"{served.host}/a:1")
    assert any("can't be moved and is left as it is" in note for note in found.notes)
    assert all(type(event).__name__ != "Pushed" for event in found.events.events)


@pytest.mark.parametrize(
    ("flag", "status", "code", "message"),
    [
        *(("--insecure=false", *case) for case in IMMUTABLE),
        ("--push-ignore-immutable-tag-errors", 403, "DENIED", "no write access"),
        ("--push-ignore-immutable-tag-errors", 400, "MANIFEST_INVALID", "bad"),
        ("--push-ignore-immutable-tag-errors", 401, "UNAUTHORIZED", "tag is immutable"),
    ],
)
def test_other_refusals_are_errors(flag: str, status: int, code: str, message: str) -> None:
    with FaultyRegistry(_immutable(status, code, message)) as served:
        found = opened(flag)
        with found.client, pytest.raises(RegistryError, match=f"answered {status}"):
            found.push(f"{served.host}/a:1")


def test_missing_tag_is_not_an_immutable_one() -> None:
    refused = Answer(409)
    script = Served(IMAGE)
    script.manifest_answers = [refused, Answer(404)]
    with FaultyRegistry(script) as served:
        found = opened("--push-ignore-immutable-tag-errors")
        with found.client, pytest.raises(RegistryError, match="answered 409"):
            found.push(f"{served.host}/a:1")


def test_permission_is_tried_first_unless_said() -> None:
    assert opened().client.rules.check_push
    assert not opened("--skip-push-permission-check").client.rules.check_push


def test_wrong_password_names_its_source(locked_registry: Registry) -> None:
    trust = f"--registry-certificate={locked_registry.host}={locked_registry.ca_file}"
    found = opened(trust, environment={**USER, "KANIKO_127_0_0_1_PASSWORD": "hunter2"})
    with found.client as client, pytest.raises(AuthError, match="answered 401") as caught:
        check_push(client, Reference.parse(f"{locked_registry.host}/a"))
    assert "the credentials of user sailor from KANIKO_127_0_0_1_USER were tried" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_missing_entry_names_file_and_keys(locked_registry: Registry, tmp_path: Path) -> None:
    entry = {"auth": base64.b64encode(b"bob:hunter2").decode()}
    document = {"auths": {"https://other.example.com:5000/v2/": entry, "quay.io/team": entry}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    trust = f"--registry-certificate={locked_registry.host}={locked_registry.ca_file}"
    found = opened(trust, environment={"DOCKER_CONFIG": str(tmp_path)})
    with found.client as client, pytest.raises(AuthError) as caught:
        check_push(client, Reference.parse(f"{locked_registry.host}/a"))
    said = f"{tmp_path}/config.json (has other.example.com:5000, quay.io/team)"
    assert f"no credentials for {locked_registry.host}/a (looked in: {said}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert entry["auth"] not in str(caught.value)


def test_missing_file_is_named(locked_registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    trust = f"--registry-certificate={locked_registry.host}={locked_registry.ca_file}"
    wrong = {"DOCKER_CONFIG": f"{tmp_path}/config.json"}
    with opened(trust, environment=wrong).client as client, pytest.raises(AuthError) as caught:
        check_push(client, Reference.parse(f"{locked_registry.host}/a"))
    assert f"{tmp_path}/config.json/config.json: DOCKER_CONFIG must name a directory" in str(caught.value)


def test_repository_that_is_not_there() -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository does not exist"}]}'
    with FaultyRegistry(lambda asked: Answer(404, body)) as served, opened().client as client:
        with pytest.raises(RegistryError, match="NAME_UNKNOWN") as caught:
            check_push(client, Reference.parse(f"{served.host}/a"))
    assert "some registries want it to be created first" in str(caught.value)
