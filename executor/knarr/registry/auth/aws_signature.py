"""Signatures of AWS requests, version 4 (AWS General Reference, "Signature Version 4")."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """An access key; `session_token` comes with those that last only for a while."""

    source: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SigningScope:
    """What a signature holds for; the time is seconds since 1970."""

    region: str
    service: str
    time_s: float

    @property
    def timestamp(self) -> str:
        """The time in AWS's form."""
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.time_s))

    def __str__(self) -> str:
        return f"{self.timestamp[:8]}/{self.region}/{self.service}/aws4_request"


def signed_headers(
    keys: AwsKeys,
    scope: SigningScope,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> dict[str, str]:
    """The headers to send: those given, with the time, the session token and the signature of all.

    The URL has no query, and a path that needs no escapes. `host` is signed, but left to the sender.
    """
    parts = urlsplit(url)
    assert not parts.query, "only requests without a query are signed"
    sent = {**(headers or {}), "x-amz-date": scope.timestamp}
    if keys.session_token:
        sent["x-amz-security-token"] = keys.session_token
    signed = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    signed = dict(sorted({**signed, "host": parts.netloc}.items()))
    names = ";".join(signed)
    lines = [f"{name}:{value}\n" for name, value in signed.items()]
    request = "\n".join(
        (method, parts.path or "/", "", "".join(lines), names, hashlib.sha256(body).hexdigest())
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join((_ALGORITHM, scope.timestamp, str(scope), digest))
    signature = hmac.new(_signing_key(keys, scope), text.encode(), hashlib.sha256).hexdigest()
    credential = f"{keys.access_key_id}/{scope}"
    sent["Authorization"] = (
        f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def _signing_key(keys: AwsKeys, scope: SigningScope) -> bytes:
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in str(scope).split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
