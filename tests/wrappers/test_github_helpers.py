"""Credentials that helper programs of the runner keep, on their way into the executor's container."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from knarr_action.docker.credential_helpers import ask_helpers
from knarr_action.docker.login import login

_HELPER = """#!/usr/bin/python3
import json, sys
kept = {kept}
if sys.argv[1] == "list":
    print(json.dumps({{server: user for server, (user, _) in kept.items()}}))
    sys.exit()
server = sys.stdin.read()
if server == "https://broken.example":
    print("no answer from the keychain")
    sys.exit(1)
if server not in kept:
    print("credentials not found in native keychain")
    sys.exit(1)
user, secret = kept[server]
print(json.dumps({{"ServerURL": server, "Username": user, "Secret": secret}}))
"""


def _helper(directory: Path, name: str, kept: Mapping[str, Sequence[str]]) -> None:
    directory.mkdir(exist_ok=True)
    program = directory / f"docker-credential-{name}"
    program.write_text(_HELPER.format(kept=kept))
    program.chmod(0o755)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A runner with two helpers, as the Docker command line has them."""
    _helper(
        tmp_path / "bin",
        "store",
        {
            "https://index.docker.io/v1/": ("hub", "h"),
            "own.example": ("wrong", "w"),
            "old.example": ("o", "p"),
        },
    )
    _helper(tmp_path / "bin", "own", {"own.example": ("<token>", "t")})
    return {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "DOCKER_CONFIG": str(tmp_path)}


def _configure(tmp_path: Path, config: Mapping[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))


def test_credentials_that_helpers_keep(tmp_path: Path, environment: dict[str, str]) -> None:
    """docker/cli's order: a registry's own helper, the store, then what is written there."""
    own, broken, missing = "own.example", "https://broken.example", "missing.example"
    _configure(
        tmp_path,
        {
            "credsStore": "store",
            "credHelpers": {own: "own", broken: "own", missing: "own", "gone.example": "gone"},
            "auths": {
                "https://index.docker.io/v1/": {},
                "plain.example": {"auth": "cDpx"},
                "nowhere.example": {},
            },
            "HttpHeaders": {"a": "b"},
        },
    )
    warnings: list[str] = []
    given = {**environment, "DOCKER_AUTH_CONFIG": '{"auths": {"old.example": {"auth": "bjpt"}}}'}
    (text,) = login(given, warnings.append).values()
    assert json.loads(text) == {
        "auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOmg="},
            "plain.example": {"auth": "cDpx"},
            "nowhere.example": {},
            "own.example": {"identitytoken": "t"},
            "old.example": {"auth": "bjpt"},
        },
        "HttpHeaders": {"a": "b"},
    }
    assert sorted(warnings) == [
        "no credentials for gone.example: there is no docker-credential-gone on this runner",
        "no credentials for https://broken.example: docker-credential-own get failed with status 1: "
        "no answer from the keychain",
    ]


def test_answers_of_helpers_that_are_none(tmp_path: Path, environment: dict[str, str]) -> None:
    program = tmp_path / "bin/docker-credential-odd"
    program.write_text("#!/bin/sh\necho s3cret\n")
    program.chmod(0o755)
    warnings: list[str] = []
    config = {"credsStore": "odd", "auths": {"a.example": {}}}
    assert ask_helpers(config, environment, warnings.append) == {}
    assert len(warnings) == 2
    assert "s3cret" not in " ".join(warnings)


def test_without_a_login_there_is_no_variable(tmp_path: Path) -> None:
    assert login({"DOCKER_CONFIG": str(tmp_path)}, print) == {}
    _configure(tmp_path, {"auths": {"a.example": {"auth": "cDpx"}}})
    (text,) = login({"DOCKER_CONFIG": str(tmp_path)}, print).values()
    assert json.loads(text) == {"auths": {"a.example": {"auth": "cDpx"}}}
