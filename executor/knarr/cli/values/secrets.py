"""`--secret` with `--ssh`: what RUN steps are given of the user's."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from knarr.builder.request.credentials import BuildSecrets
from knarr.dockerfile.syntax.csv_fields import split_fields
from knarr.errors import DockerfileError, UsageError

_MAX_SECRET_BYTES = 500 * 1024
"""BuildKit's limit."""
_KEYS = {"id": "id", "src": "src", "source": "src", "env": "env", "type": "type"}
_FORM = "--secret id=ID,src=FILE or --secret id=ID,env=VARIABLE"


def read_credentials(
    secrets: Sequence[str], agents: Sequence[str], environment: Mapping[str, str]
) -> BuildSecrets:
    """Read the values of the flags, with the files and variables that they name. Raises UsageError."""
    values: dict[str, bytes] = {}
    for text in secrets:
        id_, data = _read_secret(text, environment)
        if id_ in values:
            raise UsageError(f"--secret: the id {id_} is given twice")
        values[id_] = data
    return BuildSecrets(values, dict(_read_agent(text, environment) for text in agents))


def _read_secret(text: str, environment: Mapping[str, str]) -> tuple[str, bytes]:
    fields = _fields(text)
    id_, source, variable = fields.get("id", ""), fields.get("src", ""), fields.get("env", "")
    kind = fields.get("type", "")
    if not id_:
        raise UsageError("--secret: the id is missing", hint=_FORM)
    if source and variable:
        raise UsageError(f"--secret {id_}: src and env can't both be given", hint=_FORM)
    if kind == "env" and not variable:
        source, variable = "", source or id_
    elif not kind and not source and not variable and id_ in environment:
        variable = id_
    if kind == "file" and variable:
        raise UsageError(f"--secret {id_}: a secret of type file has no env", hint=_FORM)
    if variable:
        if variable not in environment:
            raise UsageError(f"--secret {id_}: the variable {variable} is not set")
        data = environment[variable].encode(errors="surrogateescape")
    else:
        data = _read_file(id_, Path(source or id_))
    if len(data) > _MAX_SECRET_BYTES:
        raise UsageError(f"--secret {id_}: it is larger than {_MAX_SECRET_BYTES} bytes")
    return id_, data


def _fields(text: str) -> dict[str, str]:
    try:
        parts = split_fields(text)
    except DockerfileError as error:
        raise UsageError("--secret: can't split its value at commas", hint=error.hint) from error
    fields: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or key.lower() not in _KEYS:
            raise UsageError(f"--secret: unknown field {key!r}", hint=_FORM)
        fields[_KEYS[key.lower()]] = value
    if fields.get("type", "file") not in ("file", "env"):
        raise UsageError(f"--secret: unknown type {fields['type']!r}", hint="type=file or type=env")
    return fields


def _read_file(id_: str, path: Path) -> bytes:
    try:
        # A pipe is fine, as a shell's <(command) gives one.
        with path.open("rb") as file:
            return file.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--secret {id_}: can't read {path}: {error.strerror}", hint=_FORM) from error


def _read_agent(text: str, environment: Mapping[str, str]) -> tuple[str, Path]:
    id_, equals, socket = text.partition("=")
    if not equals:
        socket = environment.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise UsageError(
                f"--ssh {id_}: SSH_AUTH_SOCK is not set", hint="start an ssh-agent, or name its socket"
            )
    try:
        is_socket = stat.S_ISSOCK(os.stat(socket).st_mode)
    except OSError as error:
        raise UsageError(f"--ssh {id_}: can't use {socket}: {error.strerror}") from error
    if not is_socket:
        raise UsageError(
            f"--ssh {id_}: {socket} is not the socket of an agent",
            hint="add keys to an ssh-agent: ssh-add FILE",
        )
    return id_, Path(socket).absolute()
