"""One value of `RUN --mount`.

Comma-separated `key=value` fields, keys in any case. Values are expanded with the environment of the step,
`from` excepted: which stages a step needs must be known before any is built.
"""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from knarr.dockerfile.syntax.csv_fields import split_fields
from knarr.dockerfile.syntax.suggest import wrong
from knarr.dockerfile.syntax.text import base_name, clean_path, parse_bool, parse_unsigned
from knarr.errors import DockerfileError


class MountType(enum.Enum):
    """What is mounted."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"
    SSH = "ssh"


class Sharing(enum.Enum):
    """How builds at the same time share a cache."""

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount, defaults filled in; a relative `target` starts at the WORKDIR.

    `target` "" is the WORKDIR. None: of a secret, no file is wanted (`env` alone is given); of ssh,
    `/run/buildkit/ssh_agent.N` for the Nth such mount. `source` is a path inside `from_`; `from_` None is the
    build context (bind) or an empty cache. `id` names a cache, a secret or an agent. `size_bytes` 0 is no
    limit. `required` False: a secret or agent that was not given is skipped. `has_owner`: a cache with an
    owner or mode that was asked for and no `source`; it starts empty, whatever `from_` says, and is another
    cache than the one without.
    """

    type: MountType
    target: str | None
    source: str = "/"
    from_: str | None = None
    read_only: bool = True
    id: str = ""
    sharing: Sharing = Sharing.SHARED
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size_bytes: int = 0
    required: bool = False
    env: str | None = None
    has_owner: bool = False


_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_SWITCHES = frozenset({"readonly", "readwrite", "required"})

_ALLOWED: Mapping[MountType, frozenset[str]] = {
    type_: frozenset({"type", "target", "id", "readonly", "readwrite", "env", *more})
    for type_, more in (
        (MountType.BIND, ("source", "from")),
        (MountType.CACHE, ("source", "from", "sharing", "mode", "uid", "gid")),
        (MountType.TMPFS, ("size",)),
        (MountType.SECRET, ("source", "required", "mode", "uid", "gid")),
        (MountType.SSH, ("source", "required", "mode", "uid", "gid")),
    )
}
_KEYS = frozenset().union(*_ALLOWED.values()) | _ALIASES.keys()
_DEFAULT_MODES = {MountType.CACHE: 0o755, MountType.SECRET: 0o400, MountType.SSH: 0o600}
_VARIABLE = re.compile(r"\$.", re.DOTALL)

_SIZE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?(?:([kmgtp])(?:i?b)?|b)?", re.IGNORECASE)
_SIZE_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_LARGEST_SIZE = 2**63 - 1


def mount_from(text: str) -> str | None:
    """The stage, context or image that a raw value names; raises DockerfileError without a location."""
    from_ = _read_fields(text, None).get("from") or None
    if from_ is not None and _VARIABLE.search(from_):
        raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")
    return from_


def parse_mount(text: str, expand: Callable[[str], str]) -> Mount:
    """The mount a raw value asks for; `expand` expands one value. Raises DockerfileError (no location)."""
    mount_from(text)
    fields = _read_fields(text, expand)
    type_ = _parse_type(fields.pop("type", "bind"))
    for key in fields:
        if key not in _ALLOWED[type_]:
            raise wrong(f"{key} not allowed for {type_.value!r} type mounts", key, _ALLOWED[type_])
    common: dict[str, Any] = {
        "type": type_,
        "read_only": _parse_read_only(fields, type_),
        "mode": _parse_number(fields, "mode", _DEFAULT_MODES.get(type_, 0), base=8),
        "uid": _parse_number(fields, "uid", 0, base=10),
        "gid": _parse_number(fields, "gid", 0, base=10),
    }
    return _BUILDERS[type_](fields, common)


def parse_size(text: str) -> int:
    """Bytes of `64m`, `1.5GiB`, `4096` (units of 1024); raises ValueError."""
    match = _SIZE.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    size_bytes = int(float(match[1]) * 1024 ** _SIZE_POWERS[(match[2] or "").lower()])
    if size_bytes > _LARGEST_SIZE:
        raise ValueError(f"size out of range: {text!r}")
    return size_bytes


def _read_fields(text: str, expand: Callable[[str], str] | None) -> dict[str, str]:
    """Canonical key to value, the last one given; keys that stand alone are "true"."""
    fields: dict[str, str] = {}
    for field in split_fields(text):
        written, equals, value = field.partition("=")
        written = written.lower()
        key = _ALIASES.get(written, written)
        if key not in _KEYS:
            raise wrong(f"unexpected key '{written}' in '{field}'", written, _KEYS)
        if not equals:
            if key not in _SWITCHES:
                raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        if expand is not None and key != "from":
            value = expand(value)
        fields.pop(key, None)  # of readonly and readwrite the one given last counts
        fields[key] = value
    return fields


def _bind(fields: Mapping[str, str], common: dict[str, Any]) -> Mount:
    source = clean_path("/" + fields.get("source", ""))
    return Mount(**common, target=fields.get("target", ""), source=source, from_=fields.get("from") or None)


def _cache(fields: Mapping[str, str], common: dict[str, Any]) -> Mount:
    target = fields.get("target", "")
    source = clean_path("/" + fields.get("source", ""))
    return Mount(
        **common,
        target=target,
        source=source,
        from_=fields.get("from") or None,
        id=fields.get("id") or clean_path(target),
        sharing=_parse_sharing(fields.get("sharing", "shared")),
        has_owner=source == "/" and any(key in fields for key in ("mode", "uid", "gid")),
    )


def _tmpfs(fields: Mapping[str, str], common: dict[str, Any]) -> Mount:
    size = fields.get("size", "0")
    try:
        return Mount(**common, target=fields.get("target", ""), size_bytes=parse_size(size))
    except ValueError:
        raise DockerfileError(f"invalid value for size: {size}", hint="bytes, or 512k, 64m, 1g") from None


def _secret(fields: Mapping[str, str], common: dict[str, Any]) -> Mount:
    target = fields.get("target") or None
    if fields.get("source") and fields.get("id"):
        raise DockerfileError("both source and id can't be set")
    id_ = fields.get("id") or fields.get("source") or (base_name(target) if target else "")
    if not id_:
        raise DockerfileError("invalid secret mount. one of id, source, target required")
    env = fields.get("env") or None
    if target is None and env is None:
        target = f"/run/secrets/{base_name(id_)}"
    return Mount(**common, target=target, id=id_, required=_parse_switch(fields, "required"), env=env)


def _ssh(fields: Mapping[str, str], common: dict[str, Any]) -> Mount:
    id_ = fields.get("id") or fields.get("source") or "default"
    required = _parse_switch(fields, "required")
    return Mount(**common, target=fields.get("target") or None, id=id_, required=required)


_BUILDERS: Mapping[MountType, Callable[[Mapping[str, str], dict[str, Any]], Mount]] = {
    MountType.BIND: _bind,
    MountType.CACHE: _cache,
    MountType.TMPFS: _tmpfs,
    MountType.SECRET: _secret,
    MountType.SSH: _ssh,
}


def mount_target(target: str, working_dir: str) -> str:
    """The absolute path that a target is. Raises DockerfileError for the root (no location)."""
    path = clean_path(target if target.startswith("/") else f"/{working_dir}/{target}")
    if path == "/":
        hint = "a mount can't cover the whole root: give it a target=/path"
        if not target:
            hint += ", or a WORKDIR before, where one without a target is mounted"
        raise DockerfileError('invalid mount target "/"', hint=hint)
    return path


def _parse_type(text: str) -> MountType:
    try:
        return MountType(text.lower())
    except ValueError:
        raise wrong(f'unsupported mount type "{text}"', text, (type_.value for type_ in MountType)) from None


def _parse_sharing(text: str) -> Sharing:
    try:
        return Sharing(text.lower())
    except ValueError:
        raise wrong(f'unsupported sharing value "{text}"', text, (mode.value for mode in Sharing)) from None


def _parse_read_only(fields: Mapping[str, str], type_: MountType) -> bool:
    read_only = type_ not in (MountType.CACHE, MountType.TMPFS)
    for key in fields:
        if key in ("readonly", "readwrite"):
            read_only = _parse_switch(fields, key) == (key == "readonly")
    return read_only


def _parse_switch(fields: Mapping[str, str], key: str) -> bool:
    try:
        return parse_bool(fields.get(key, "false"))
    except ValueError:
        raise DockerfileError(f"invalid value for {key}: {fields[key]}", hint="true or false") from None


def _parse_number(fields: Mapping[str, str], key: str, default: int, *, base: int) -> int:
    if key not in fields:
        return default
    try:
        return parse_unsigned(fields[key], base=base, bits=32)
    except ValueError:
        raise DockerfileError(f"invalid value {fields[key]} for {key}") from None
