"""Credentials for Google's registries: a service account's key, a helper program, the metadata server."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knarr.errors import CorruptError, RegistryError
from knarr.registry.auth.cloud_service import CloudService
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import Credentials, Lookup, ask_helper
from knarr.registry.http.message import Reply
from knarr.registry.http.proxies import Proxies

_HOST = re.compile(r"(?:[a-z0-9-]{1,63}\.)?gcr\.io|[a-z0-9-]{1,63}\.pkg\.dev", re.ASCII)
_PROGRAM = "gcr"
METADATA_URL = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
"""Of the machine that a build runs on, never another; plain http is what it speaks."""
_FLAVOR = "metadata-flavor"
_TOKEN_USER = "oauth2accesstoken"
_KEY_USER = "_json_key"
_MAX_KEY_BYTES = 64 * 1024
_KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"


def is_google_registry(registry: str) -> bool:
    """Whether a normalised registry name is one of Google's: gcr.io, a host right below it or pkg.dev."""
    return _HOST.fullmatch(registry) is not None


@dataclass(frozen=True, slots=True)
class GoogleProvider:
    """Asks in the order of how explicit the user was."""

    key_file: Path | None = None
    """What GOOGLE_APPLICATION_CREDENTIALS names."""
    helpers: CredentialHelpers = field(default_factory=CredentialHelpers)
    service: CloudService = field(default_factory=CloudService)
    metadata_url: str = METADATA_URL
    name: str = "google"

    def lookup(self, registry: str) -> Lookup:
        """Credentials for a registry of Google's; nothing for any other."""
        if not is_google_registry(registry):
            return Lookup()
        notes: tuple[str, ...] = ()
        if self.key_file is not None:
            found = _read_key(self.key_file)
            if found.credentials is not None:
                return found
            notes = found.notes
        if self.helpers.has(_PROGRAM):
            found = ask_helper(self.helpers, _PROGRAM, registry, is_implicit=True)
            if found.credentials is not None:
                return found
            notes = (*notes, *found.notes)
        asked = self._ask_metadata()
        return Lookup(asked.credentials, (*notes, *asked.notes), asked.remarks, asked.life_s)

    def _ask_metadata(self) -> Lookup:
        try:
            # No proxy: it would learn the token, and has another metadata server, if any.
            direct = dataclasses.replace(self.service, proxies=Proxies())
            reply = direct.ask("GET", self.metadata_url, headers={"Metadata-Flavor": "Google"})
        except (RegistryError, CorruptError):
            return Lookup(remarks=("google: there is no metadata server here",))
        if reply.headers.get(_FLAVOR, "").lower() != "google":
            return Lookup(remarks=("google: what answers as metadata server is not one",))
        if reply.status != 200:
            return Lookup(remarks=(f"google: the metadata server answered {reply.status}",))
        return _read_token(reply)


def _read_token(reply: Reply) -> Lookup:
    document = _decode(reply.body)
    token, life = document.get("access_token"), document.get("expires_in")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        return Lookup(notes=("google: the metadata server gave no token",))
    life_s = float(life) if isinstance(life, int | float) and life > 0 else 60.0
    return Lookup(Credentials("the metadata server", _TOKEN_USER, token, is_implicit=True), life_s=life_s)


def _read_key(path: Path) -> Lookup:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        return Lookup(notes=(f"google: {_KEY_VARIABLE}: can't read {path}: {error.strerror}",))
    kind = _decode(data).get("type") if len(data) <= _MAX_KEY_BYTES else None
    if kind != "service_account":
        other = f"{kind} credentials, for which docker-credential-gcr is needed" if kind else "no key"
        return Lookup(notes=(f"google: {path} ({_KEY_VARIABLE}) holds {other[:100]}",))
    return Lookup(Credentials(str(path), _KEY_USER, data.decode(), is_implicit=True))


def _decode(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
