"""Credentials for registries, as Docker's config.json keeps them."""

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from knarr.errors import AuthError
from knarr.oci.go_json import MapOf, Struct, Text, shaped
from knarr.oci.reference import DOCKER_HUB, normalise_registry
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.http.locations import shown

_ENTRY = Struct(dict.fromkeys(("auth", "username", "password", "identitytoken", "registrytoken"), Text()))
_CONFIG = Struct({"auths": MapOf(_ENTRY), "credHelpers": MapOf(Text()), "credsStore": Text()})
_MAX_CONFIG_BYTES = 4 * 1024 * 1024
_HUB_SERVER = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"
_API_PATHS = ("v1", "v2")
_SHOWN_KEYS = 20
_CLOUD_HELPERS = frozenset({"acr-env", "acr-linux", "ecr-login", "gcloud", "gcr"})
_HELPER_LIFE_S = 900.0
"""How long a helper's answer is used: clouds' passwords end, and no answer says when."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one registry, or a part of it, is shown; its secrets are in no repr."""

    source: str
    """Where they are from, for messages."""
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """A refresh token, exchanged for bearer tokens."""
    registry_token: str = field(default="", repr=False)
    """A bearer token, used as it is."""
    is_implicit: bool = field(default=False, compare=False)
    """Whether nobody gave them for this registry: they are what the machine or the job is known by."""

    @property
    def basic(self) -> str | None:
        """The Authorization header of the Basic scheme; None without a user name."""
        if not self.username:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Lookup:
    """The credentials for a repository, with what went wrong while looking."""

    credentials: Credentials | None = None
    notes: tuple[str, ...] = ()
    """Faults, to warn of."""
    remarks: tuple[str, ...] = ()
    """Why places know nothing that need not: told only where a registry refuses."""
    life_s: float | None = None
    """How long the credentials may be used; None for as long as the process lives."""


class CredentialProvider(Protocol):
    """Knows credentials of some registries; it is asked only when one of them wants to see any."""

    @property
    def name(self) -> str:
        """The provider's name, for messages."""
        ...

    def lookup(self, registry: str) -> Lookup:
        """What it knows for a normalised registry name, nothing for others' registries; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of `auths`; `problem` says why it can't be used."""

    credentials: Credentials
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CredentialStore:
    """Entries by `registry[/path]`, with the helpers that know more, then a provider for the rest.

    The most specific entry counts: a path before its parents, the registry last. An entry of a path is never
    used outside it.
    """

    entries: Mapping[str, _Entry] = field(default_factory=dict, repr=False)
    helpers_by_registry: Mapping[str, str] = field(default_factory=dict)
    default_helper: str = ""
    helpers: CredentialHelpers = field(default_factory=CredentialHelpers)
    sources: tuple[str, ...] = ()
    provider: CredentialProvider | None = None
    absent: tuple[str, ...] = ()
    """Files that were looked for and are not there, for messages."""

    @classmethod
    def parse(
        cls, data: bytes, source: str, *, helpers: CredentialHelpers | None = None
    ) -> "CredentialStore":
        """Read a config.json; AuthError where it isn't one. `source` is its name in messages."""
        document = decode_config(data, source)
        auths = _object(document, "auths", source)
        by_registry = _object(document, "credHelpers", source)
        return cls(
            {registry_key(name): _entry(value, source) for name, value in auths.items()},
            {registry_key(name): str(helper) for name, helper in by_registry.items() if helper},
            str(document.get("credsStore") or ""),
            helpers or CredentialHelpers(),
            (source,),
        )

    def overlaid(self, other: "CredentialStore") -> "CredentialStore":
        """The same with the entries of another store in front of those of the same name."""
        return dataclasses.replace(
            self,
            entries={**self.entries, **other.entries},
            helpers_by_registry={**self.helpers_by_registry, **other.helpers_by_registry},
            default_helper=other.default_helper or self.default_helper,
            sources=(*other.sources, *self.sources),
        )

    def lookup(self, registry: str, repository: str) -> Lookup:
        """The credentials for a repository; may run a helper program, or ask a cloud."""
        registry = normalise_registry(registry.removesuffix(":443"))
        own = self._own(registry, repository)
        if own.credentials is not None or self.provider is None:
            return own
        found = self.provider.lookup(registry)
        return dataclasses.replace(found, notes=(*own.notes, *found.notes))

    def looked_in(self) -> str:
        """Where credentials were looked for and which registries each place knows; nothing that is secret."""
        places = [f"{source} ({self._known_to(source)})" for source in self.sources]
        places += [f"{path} (not there)" for path in self.absent if not self.sources]
        places += [f"credential helpers {self.provider.name}"] if self.provider is not None else []
        return ", ".join(places) or "no file of credentials was found"

    def _known_to(self, source: str) -> str:
        keys = [key for key, entry in self.entries.items() if entry.credentials.source == source]
        more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
        return f"has {', '.join(map(shown, keys[:_SHOWN_KEYS]))}{more}" if keys else "has no entries"

    def _own(self, registry: str, repository: str) -> Lookup:
        parts = repository.split("/") if repository else []
        for length in range(len(parts), -1, -1):
            entry = self.entries.get("/".join([registry, *parts[:length]]))
            if entry is None or not (entry.problem or _has_secret(entry.credentials)):
                continue
            if entry.problem:
                return Lookup(notes=(f"{entry.credentials.source}: {entry.problem}",))
            if length:
                return Lookup(entry.credentials)
            from_helper = self._ask(self.helpers_by_registry.get(registry), registry)
            return from_helper if from_helper.credentials else Lookup(entry.credentials)
        return self._ask(self.helpers_by_registry.get(registry) or self.default_helper, registry)

    def _ask(self, helper: str | None, registry: str) -> Lookup:
        return ask_helper(self.helpers, helper, registry) if helper else Lookup()


def ask_helper(
    helpers: CredentialHelpers, helper: str, registry: str, *, is_implicit: bool = False
) -> Lookup:
    """What `docker-credential-HELPER` knows for a normalised registry name; a failure is a note.

    With `is_implicit` no file names the helper for this registry. Those of clouds always say who the machine
    is, not what somebody gave for a registry.
    """
    is_implicit = is_implicit or helper in _CLOUD_HELPERS
    answer = helpers.get(helper, server_name(registry))
    source = f"docker-credential-{helper}"
    if not answer.secret:
        return Lookup(notes=(answer.note,) if answer.note else ())
    if answer.username == _TOKEN_USER:
        return Lookup(Credentials(source, identity_token=answer.secret, is_implicit=is_implicit))
    credentials = Credentials(source, answer.username, answer.secret, is_implicit=is_implicit)
    return Lookup(credentials, life_s=_HELPER_LIFE_S)


def server_name(registry: str) -> str:
    """What docker's files and helpers call a registry: Docker Hub by the URL of its old API."""
    return _HUB_SERVER if registry == DOCKER_HUB else registry


def decode_config(data: bytes, source: str) -> dict[str, Any]:
    """The JSON object of a config.json; AuthError, without what is in it, where there is none."""
    if len(data) > _MAX_CONFIG_BYTES:
        raise AuthError(f"{source} is larger than {_MAX_CONFIG_BYTES} bytes")
    try:
        document = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        # The decoder's own exception holds the document, secrets included: it is not chained.
        raise AuthError(
            f"{source} is not JSON{place}",
            hint='it should look like {"auths": {"registry": {"auth": "..."}}}',
        ) from None
    if not isinstance(document, dict):
        raise AuthError(f"{source} is not a JSON object")
    return cast(dict[str, Any], shaped(document, _CONFIG))


def _object(document: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise AuthError(f"{source}: {name} is not a JSON object")
    return value


def registry_key(name: str) -> str:
    """`registry[/path]` of any form in which config files name a registry, URLs included."""
    rest = name.strip().rpartition("://")[2].strip("/")
    host, _, path = rest.partition("/")
    if path in _API_PATHS:
        path = ""
    host = normalise_registry(host.removesuffix(":443"))
    return f"{host}/{path}" if path else host


def _entry(value: object, source: str) -> _Entry:
    if not isinstance(value, dict):
        return _Entry(Credentials(source), "an entry of auths is not a JSON object")
    username, password = str(value.get("username") or ""), str(value.get("password") or "")
    problem = None
    if value.get("auth"):
        try:
            # Kept by tools that break lines, as `base64` does, or that leave the padding out.
            packed = "".join(str(value["auth"]).split()).rstrip("=")
            decoded = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode()
        except (binascii.Error, ValueError):
            decoded = ""
        name, colon, secret = decoded.rstrip("\0").partition(":")
        if colon:
            username, password = name, secret
        else:
            problem = "`auth` is not the base64 of user:password"
    token = str(value.get("identitytoken") or "")
    registry_token = str(value.get("registrytoken") or "")
    return _Entry(Credentials(source, username, password, token, registry_token), problem)


def _has_secret(credentials: Credentials) -> bool:
    return bool(credentials.username or credentials.identity_token or credentials.registry_token)
