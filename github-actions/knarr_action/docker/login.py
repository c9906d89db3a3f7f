"""The credentials of the runner's `docker login`, for the executor in a container."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knarr_action.docker.credential_helpers import ask_helpers
from knarr_action.errors import ActionError
from knarr_action.workflow import Warn

_VARIABLE = "DOCKER_AUTH_CONFIG"


def login(environment: Mapping[str, str], warn: Warn) -> Mapping[str, str]:
    """DOCKER_AUTH_CONFIG with what Docker's config.json knows; empty where there is none of both.

    A variable and no mount: where RUN steps see the container's own files, they would see a mounted one too.
    What is in the variable already comes first. Credentials that programs of the runner keep are asked for
    here: the container lacks the programs. Raises ActionError.
    """
    directory = environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or "/root", ".docker")
    config = Path(directory, "config.json")
    given = _parse(environment.get(_VARIABLE) or "{}", _VARIABLE)
    known = _parse(config.read_text(), str(config)) if config.is_file() else {}
    if not given and not known:
        return {}
    for key, value in given.items():
        old = known.get(key)
        known[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    asked = ask_helpers(known, environment, warn)
    if asked:
        own = given["auths"] if isinstance(given.get("auths"), dict) else {}
        known["auths"] = {**(known.get("auths") or {}), **asked, **own}
    for key in ("credHelpers", "credsStore"):
        known.pop(key, None)
    return {_VARIABLE: json.dumps(known)}


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ActionError(f"{source} holds no JSON object", hint="docker/login-action writes it")
    return document
