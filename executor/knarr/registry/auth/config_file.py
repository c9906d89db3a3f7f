"""Credentials into Docker's config.json."""

import base64
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from knarr.errors import AuthError, OutputError
from knarr.oci.reference import normalise_registry
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import decode_config, registry_key, server_name

_MAX_BYTES = 4 * 1024 * 1024


def keep_credentials(
    path: Path, registry: str, username: str, password: str, helpers: CredentialHelpers
) -> str:
    """Keep them in the file, or with the helper program that it names; the result says where.

    Whatever else is in the file stays; other forms of the same registry's name are replaced. The file
    changes in one step, and only its owner can read it. Raises AuthError where the file is no config
    or the helper fails, OutputError where it can't be written; it is as it was then.
    """
    document = _read(path)
    auths = _object(document, "auths", path)
    server = server_name(normalise_registry(registry))
    helper = _helper_of(document, registry, path)
    if helper:
        problem = helpers.store(helper, server, username, password)
        if problem is not None:
            raise AuthError(f"can't keep the credentials for {registry}: {problem}", hint=f"{path} names it")
    secret = base64.b64encode(f"{username}:{password}".encode()).decode()
    key = registry_key(registry)
    others = {name: value for name, value in auths.items() if registry_key(name) != key}
    document["auths"] = {**others, server: {} if helper else {"auth": secret}}
    _write(path, document)
    return f"docker-credential-{helper}" if helper else str(path)


def _helper_of(document: dict[str, Any], registry: str, path: Path) -> str:
    by_registry = _object(document, "credHelpers", path)
    key = registry_key(registry)
    own = next((str(value) for name, value in by_registry.items() if registry_key(name) == key), "")
    return own or str(document.get("credsStore") or "")


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AuthError(f"can't read the credentials in {path}: {error.strerror}") from error
    return decode_config(data, str(path))


def _object(document: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise AuthError(f"{path}: {name} is not a JSON object")
    return value


def _write(path: Path, document: dict[str, Any]) -> None:
    data = json.dumps(document, indent="\t", ensure_ascii=False).encode() + b"\n"
    target = Path(os.path.realpath(path))  # a link to a file elsewhere stays one
    if target.exists() and not target.is_file():
        raise OutputError(
            f"can't keep credentials in {path}: it is not a regular file",
            hint="DOCKER_CONFIG names the directory that holds config.json",
        )
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # of mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"can't keep credentials in {path}: {error.strerror}",
            hint="DOCKER_CONFIG names the directory that holds config.json",
        ) from error
