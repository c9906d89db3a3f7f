"""Credentials in kaniko's order, from files and variables."""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from knarr.cli.command import Command
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.values.credentials import registry_credentials
from knarr.errors import AuthError
from knarr.progress import Note
from knarr.registry.auth.cloud_service import CloudService
from support.registry_images import Events


def _user(environment: Mapping[str, str], registry: str, helpers: Sequence[str] = ()) -> str:
    store = registry_credentials(environment, CloudService(), helpers, Events())
    found = store.lookup(registry, "team/app").credentials
    return found.username if found is not None else ""


def _config(user: str, *registries: str) -> str:
    auth = base64.b64encode(f"{user}:secret".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": auth} for registry in registries}})


GITLAB = {"CI_REGISTRY": "reg.corp", "CI_REGISTRY_USER": "gitlab", "CI_REGISTRY_PASSWORD": "x"}
ENV = {"KANIKO_REG_CORP_USER": "env", "KANIKO_REG_CORP_PASSWORD": "x"}
AZURE = {"AZURE_CLIENT_ID": "azure", "AZURE_CLIENT_SECRET": "x", "AZURE_TENANT_ID": "t"}


def test_file_then_variables_then_gitlab(tmp_path: Path) -> None:
    everything = {**GITLAB, **ENV, "DOCKER_CONFIG": str(tmp_path)}
    assert _user(GITLAB, "reg.corp") == "gitlab"
    assert _user(everything, "reg.corp") == "env"
    (tmp_path / "config.json").write_text(_config("file", "https://reg.corp/v2/"))
    assert _user(everything, "reg.corp") == "file"
    assert _user({**everything, "DOCKER_AUTH_CONFIG": _config("text", "reg.corp")}, "reg.corp") == "text"
    assert _user(everything, "other.corp") == ""


def test_a_secret_of_kubectl_is_found_by_its_own_file_name(tmp_path: Path) -> None:
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    (tmp_path / ".dockerconfigjson").write_text(_config("secret", "reg.corp"))
    assert _user(environment, "reg.corp") == "secret"
    (tmp_path / "config.json").write_text(_config("file", "reg.corp"))
    assert _user(environment, "reg.corp") == "file"


def test_text_counts_without_a_file(tmp_path: Path) -> None:
    environment = {"DOCKER_AUTH_CONFIG": _config("text", "reg.corp"), "HOME": str(tmp_path)}
    assert _user(environment, "reg.corp") == "text"


@pytest.mark.parametrize(
    ("registry", "user"),
    [("https://reg.corp", "gitlab"), ("reg.corp:443", "gitlab"), ("", ""), ("other", "")],
)
def test_registry_of_gitlab(registry: str, user: str) -> None:
    assert _user({**GITLAB, "CI_REGISTRY": registry}, "reg.corp") == user


@pytest.mark.parametrize(
    ("helpers", "user"),
    [
        ((), "env"),
        (("gitlab", "env"), "gitlab"),
        (("gitlab",), "gitlab"),
        (("google", "ecr", "acr"), ""),
        (("",), ""),
        (("", "gitlab"), "gitlab"),
        (("unheard-of",), ""),
    ],
)
def test_helpers_are_those_named(helpers: tuple[str, ...], user: str) -> None:
    assert _user({**GITLAB, **ENV}, "reg.corp", helpers) == user


def test_unknown_helper_is_a_warning() -> None:
    events = Events()
    registry_credentials({}, CloudService(), ("ecr,google", "env"), events)
    (note,) = events.events
    assert isinstance(note, Note)
    assert note.level == "warning"
    assert "'ecr,google' is unknown; there are env, google, ecr, acr, gitlab" in note.text


@pytest.mark.parametrize(
    ("arguments", "helpers"),
    [
        ([], ()),
        (["--credential-helpers="], ("",)),
        (["--credential-helpers", ""], ("",)),
        (["--credential-helpers=gitlab", "--credential-helpers=env"], ("gitlab", "env")),
        (["--registry-mirror="], ()),
    ],
)
def test_empty_value_disables_helpers(arguments: list[str], helpers: tuple[str, ...]) -> None:
    given: list[RegistryFlags] = []

    def handler(flags: RegistryFlags) -> int:
        """Take the flags."""
        given.append(flags)
        return 0

    Command("test", (RegistryFlags,), handler).run(arguments)
    assert given[0].credential_helpers == helpers
    assert given[0].registry_mirror == ()


def test_principal_of_azure() -> None:
    assert _user(AZURE, "mine.azurecr.io") == "azure"
    assert _user(AZURE, "mine.azurecr.io.evil.com") == ""


def test_program_named_in_the_file_is_run(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-mine"
    program.write_text('#!/bin/sh\nread server; echo "{\\"Username\\":\\"$WHO\\",\\"Secret\\":\\"s\\"}"\n')
    program.chmod(0o755)
    (tmp_path / "config.json").write_text('{"credsStore": "mine"}')
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "DOCKER_CONFIG": str(tmp_path), "WHO": "helper"}
    assert _user(environment, "reg.corp") == "helper"


def test_unreadable_file_ends_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(AuthError, match="can't read the credentials in"):
        _user({"DOCKER_CONFIG": str(tmp_path)}, "reg.corp")
