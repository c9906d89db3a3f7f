"""The credentials of the runner's `docker login`, for the executor in a container."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knarr_action.errors import ActionError

_VARIABLE = "DOCKER_AUTH_CONFIG"


def login(environment: Mapping[str, str]) -> Mapping[str, str]:
    """DOCKER_AUTH_CONFIG with what Docker's config.json knows; empty where there is none of both.

    A variable and no mount: where RUN steps see the container's own files, they would see a mounted one too.
    What is in the variable already comes first. Raises ActionError.
    """
    directory = environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or "/root", ".docker")
    config = Path(directory, "config.json")
    if not config.is_file():
        return {}
    given = environment.get(_VARIABLE, "")
    known = _parse(config.read_text(), str(config))
    if given:
        for key, value in _parse(given, _VARIABLE).items():
            old = known.get(key)
            known[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return {_VARIABLE: json.dumps(known)}


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ActionError(f"{source} holds no JSON object", hint="docker/login-action writes it")
    return document
