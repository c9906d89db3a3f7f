"""Credentials that programs `docker-credential-NAME` of the runner keep (`credHelpers`, `credsStore`)."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from knarr_action.workflow import Warn

_TIMEOUT_S = 60
_AT_ONCE = 8
_TOKEN_USER = "<token>"
_NOT_FOUND = "credentials not found in native keychain"
"""What a helper says that has none for a registry: no trouble."""


class _HelperError(Exception):
    """A helper that gave no answer."""


def ask_helpers(
    config: Mapping[str, Any], environment: Mapping[str, str], warn: Warn
) -> Mapping[str, Mapping[str, str]]:
    """Entries of `auths` for the registries that a Docker config leaves to helpers.

    One that fails is a warning: the build may need no such registry.
    """
    wanted = _wanted(config, environment, warn)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = {
            server: pool.submit(_get, helper, server, environment) for server, helper in wanted.items()
        }
    found = {}
    for server, answer in answers.items():
        try:
            entry = answer.result()
        except _HelperError as error:
            warn(f"no credentials for {server}: {error}")
        else:
            if entry:
                found[server] = entry
    return found


def _wanted(config: Mapping[str, Any], environment: Mapping[str, str], warn: Warn) -> Mapping[str, str]:
    """The helper of each registry: its own comes before the store of all."""
    wanted: dict[str, str] = {}
    store = config.get("credsStore")
    if isinstance(store, str) and store:
        # `docker login` leaves an empty entry for what it has put into the store.
        logins = (config.get("auths") or {}).items()
        wanted = {server: store for server, entry in logins if not _has_secret(entry)}
        try:
            wanted |= dict.fromkeys(json.loads(_ask(store, "list", "", environment) or "{}"), store)
        except (_HelperError, ValueError) as error:
            warn(f"credsStore: can't list what {store} has: {error}")
    return {**wanted, **(config.get("credHelpers") or {})}


def _has_secret(entry: object) -> bool:
    return isinstance(entry, dict) and any(entry.get(key) for key in ("auth", "password", "identitytoken"))


def _get(helper: str, server: str, environment: Mapping[str, str]) -> Mapping[str, str] | None:
    answer = _ask(helper, "get", server, environment)
    if answer is None:
        return None
    try:
        document = json.loads(answer)
        user, secret = document["Username"], document["Secret"]
    except (ValueError, KeyError, TypeError):
        raise _HelperError(f"the answer of docker-credential-{helper} can't be read") from None
    if user == _TOKEN_USER:
        return {"identitytoken": secret}
    return {"auth": b64encode(f"{user}:{secret}".encode()).decode()} if user or secret else None


def _ask(helper: str, action: str, text: str, environment: Mapping[str, str]) -> str | None:
    """The answer; None where there is nothing to answer. Raises _HelperError, which holds no secret."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, action],
            input=text,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise _HelperError(f"there is no {program} on this runner") from None
    except subprocess.TimeoutExpired:
        raise _HelperError(f"{program} gives no answer within {_TIMEOUT_S} s") from None
    except OSError as error:
        raise _HelperError(f"can't run {program}: {error.strerror}") from None
    if not done.returncode:
        return done.stdout
    said = " ".join((done.stdout + done.stderr).split())
    if _NOT_FOUND in said:
        return None
    raise _HelperError(f"{program} {action} failed with status {done.returncode}: {said[:200]}")
