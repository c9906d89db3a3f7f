"""Credentials for AWS's registries (ECR API Reference, "GetAuthorizationToken")."""

import base64
import binascii
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from knarr.errors import AuthError, CorruptError, RegistryError
from knarr.registry.auth.aws_roles import WebIdentity, assume_role
from knarr.registry.auth.aws_signature import AwsKeys, SigningScope, signed_headers
from knarr.registry.auth.cloud_service import CloudService, require_https
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import Credentials, Lookup, ask_helper
from knarr.registry.http.locations import shown
from knarr.registry.http.message import Reply

_HOST = re.compile(
    r"[0-9]{12}\.dkr\.ecr\.([a-z]{2}(?:-[a-z]{1,16}){1,3}-[0-9]{1,2})\.(amazonaws\.com(?:\.cn)?)", re.ASCII
)
_PROGRAM = "ecr-login"
_TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
_JSON = "application/x-amz-json-1.1"
_DEFAULT_LIFE_S = 3600.0
ECR_URL = "https://api.ecr.{region}.{domain}/"
STS_URL = "https://sts.{region}.{domain}/"


def parse_ecr_host(registry: str) -> tuple[str, str] | None:
    """Region and domain of `ACCOUNT.dkr.ecr.REGION.amazonaws.com[.cn]`; None for any other registry."""
    found = _HOST.fullmatch(registry)
    return (found[1], found[2]) if found is not None else None


@dataclass(frozen=True, slots=True)
class EcrProvider:
    """Asks AWS with an access key or a web identity, else a helper program that knows more ways."""

    keys: AwsKeys | None = None
    identity: WebIdentity | None = None
    helpers: CredentialHelpers = field(default_factory=CredentialHelpers)
    service: CloudService = field(default_factory=CloudService)
    wall_clock: Callable[[], float] = time.time
    ecr_url: str = ECR_URL
    sts_url: str = STS_URL
    name: str = "ecr"

    def lookup(self, registry: str) -> Lookup:
        """Credentials for a registry of AWS's; nothing for any other."""
        place = parse_ecr_host(registry)
        if place is None:
            return Lookup()
        notes: tuple[str, ...] = ()
        if self.keys is not None or self.identity is not None:
            try:
                return self._ask(*place)
            except (RegistryError, CorruptError) as error:
                notes = (f"ecr: {error.message}",)
        if self.helpers.has(_PROGRAM):
            found = ask_helper(self.helpers, _PROGRAM, registry, is_implicit=True)
            return Lookup(found.credentials, (*notes, *found.notes), found.remarks, found.life_s)
        why = "neither AWS_ACCESS_KEY_ID nor AWS_WEB_IDENTITY_TOKEN_FILE is set, docker-credential-ecr-login "
        return Lookup(notes=notes, remarks=() if notes else (f"ecr: {why}is not installed",))

    def _ask(self, region: str, domain: str) -> Lookup:
        keys = self.keys
        if keys is None:
            assert self.identity is not None
            keys = assume_role(self.identity, self.service, _url(self.sts_url, region, domain))
        url = require_https(_url(self.ecr_url, region, domain))
        body = b"{}"
        headers = signed_headers(
            keys,
            SigningScope(region, "ecr", self.wall_clock()),
            "POST",
            url,
            headers={"Content-Type": _JSON, "X-Amz-Target": _TARGET},
            body=body,
        )
        reply = self.service.ask("POST", url, headers=headers, body=body)
        document = _decode(reply)
        if reply.status != 200:
            kind = str(document.get("__type") or "").rpartition("#")[2]
            said = ": ".join(filter(None, (kind, str(document.get("message") or ""))))
            raise AuthError(f"AWS gave no token for {keys.source} ({reply.status}): {shown(said)}")
        return self._read(document, keys.source)

    def _read(self, document: dict[str, Any], source: str) -> Lookup:
        entries = document.get("authorizationData")
        entry = entries[0] if isinstance(entries, list) and entries else None
        token = entry.get("authorizationToken") if isinstance(entry, dict) else None
        try:
            user, colon, password = base64.b64decode(str(token or ""), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise AuthError("AWS gave an answer without a token")
        ends_s = entry.get("expiresAt") if isinstance(entry, dict) else None
        life_s = ends_s - self.wall_clock() if isinstance(ends_s, int | float) else _DEFAULT_LIFE_S
        return Lookup(Credentials(source, user, password, is_implicit=True), life_s=max(life_s, 60.0))


def _url(template: str, region: str, domain: str) -> str:
    return template.format(region=region, domain=domain)


def _decode(reply: Reply) -> dict[str, Any]:
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
