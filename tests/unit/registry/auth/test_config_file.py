"""Credentials into config.json, as `knarr login` keeps them."""

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from knarr.errors import AuthError, OutputError
from knarr.registry.auth.config_file import keep_credentials
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import CredentialStore

HUB = "https://index.docker.io/v1/"


def _keep(path: Path, registry: str, helpers: CredentialHelpers | None = None) -> dict[str, Any]:
    keep_credentials(path, registry, "bob", "p:w", helpers or CredentialHelpers())
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.json"
    umask = os.umask(0)
    try:
        document = _keep(path, "ghcr.io")
    finally:
        os.umask(umask)
    assert document == {"auths": {"ghcr.io": {"auth": base64.b64encode(b"bob:p:w").decode()}}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["config.json"]


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        ("docker.io", HUB),
        ("index.docker.io", HUB),
        ("registry.example.com:5000", "registry.example.com:5000"),
    ],
)
def test_key_is_what_is_found_again(tmp_path: Path, registry: str, key: str) -> None:
    path = tmp_path / "config.json"
    assert list(_keep(path, registry)["auths"]) == [key]
    found = CredentialStore.parse(path.read_bytes(), "x").lookup(registry, "a/b").credentials
    assert found is not None
    assert (found.username, found.password) == ("bob", "p:w")


def test_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {
                "HttpHeaders": {"X": "1"},
                "auths": {
                    "quay.io": {"auth": "eA=="},
                    "ghcr.io/team": {"auth": "eQ=="},
                    "https://ghcr.io/v2/": {"auth": "old"},
                    "ghcr.io": {"auth": "old"},
                },
            }
        )
    )
    path.chmod(0o644)
    document = _keep(path, "ghcr.io")
    assert document["HttpHeaders"] == {"X": "1"}
    assert set(document["auths"]) == {"quay.io", "ghcr.io/team", "ghcr.io"}
    assert document["auths"]["quay.io"] == {"auth": "eA=="}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "config.json").symlink_to("real.json")
    _keep(tmp_path / "config.json", "ghcr.io")
    assert (tmp_path / "config.json").is_symlink()
    assert "ghcr.io" in (tmp_path / "real.json").read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": [1]}', '{"credHelpers": 1}'])
def test_what_is_no_config_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(AuthError, match=r"config\.json"):
        _keep(path, "ghcr.io")
    assert path.read_text() == content


def test_device_is_not_replaced(tmp_path: Path) -> None:
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (tmp_path / "config.json").symlink_to("null")
    with pytest.raises(OutputError, match="not a regular file"):
        _keep(tmp_path / "config.json", "ghcr.io")
    assert stat.S_ISCHR((tmp_path / "null").lstat().st_mode)


def test_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((AuthError, OutputError), match="config"):
        _keep(tmp_path / "file" / "config.json", "ghcr.io")


@pytest.mark.parametrize("document", [{"credsStore": "mine"}, {"credHelpers": {"ghcr.io": "mine"}}])
def test_helper_keeps_them_where_the_file_says_so(tmp_path: Path, document: dict[str, Any]) -> None:
    program = tmp_path / "docker-credential-mine"
    program.write_text(f'#!/bin/sh\ntest "$1" = store && cat > {tmp_path}/kept\n')
    program.chmod(0o755)
    helpers = CredentialHelpers(str(tmp_path), {"PATH": os.environ["PATH"]})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    assert _keep(path, "ghcr.io", helpers) == {**document, "auths": {"ghcr.io": {}}}
    kept = json.loads((tmp_path / "kept").read_text())
    assert kept == {"ServerURL": "ghcr.io", "Username": "bob", "Secret": "p:w"}


def test_helper_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"credsStore": "absent"}')
    with pytest.raises(AuthError, match="docker-credential-absent is not installed"):
        _keep(path, "ghcr.io", CredentialHelpers(str(tmp_path)))
    assert path.read_text() == '{"credsStore": "absent"}'
