"""Answers to a registry's challenges: Basic, bearer tokens (distribution's token specification)."""

import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from knarr.errors import AuthError
from knarr.progress import Note, Reporter
from knarr.registry.auth.challenge import Challenge, choose_challenge
from knarr.registry.auth.credentials import Credentials, CredentialStore, Lookup
from knarr.registry.http.failures import refusal
from knarr.registry.http.locations import redacted, resolve_realm, shown, with_query
from knarr.registry.http.message import Body, Reply, Request

_DEFAULT_LIFE_S = 60.0
_USED_LIFE = 0.8
_CLIENT_ID = "knarr"
_TOKEN_STATUSES = frozenset({200})
_FORM = "application/x-www-form-urlencoded"

_TokenKey = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    refresh_at: float


@dataclass(frozen=True, slots=True)
class _Known:
    """What a lookup found; `until` is where it is to be looked up again."""

    lookup: Lookup
    until: float | None


class Authorizer:
    """Finds the Authorization header of a request, keeps tokens while they live.

    Safe to use from several threads: of those that need the same registry's token, one fetches it.
    """

    def __init__(
        self,
        credentials: CredentialStore,
        *,
        fetch: Callable[[Request], Reply],
        clock: Callable[[], float],
        reporter: Reporter,
    ) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self._clock = clock
        self._reporter = reporter
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._challenges: dict[str, Challenge] = {}
        self._tokens: dict[_TokenKey, _Token] = {}
        self._lookups: dict[tuple[str, str], _Known] = {}
        self._rotated: dict[tuple[str, str], str] = {}

    def header(self, request: Request) -> str | None:
        """The header to send at once, from what the registry asked for before; may fetch a fresh token."""
        challenge = self._challenges.get(request.endpoint.base_url)
        if challenge is None:
            return None
        with self._registry_lock(request):
            return self._answer(request, challenge)

    def answer(self, request: Request, www_authenticate: str, sent: str | None) -> str | None:
        """The header that answers a 401; None where there is no other than `sent`."""
        challenge = choose_challenge(www_authenticate)
        if challenge is None:
            return None
        with self._registry_lock(request):
            self._challenges[request.endpoint.base_url] = challenge
            kept = self._tokens.get(_key(request))
            if kept is not None and kept.header == sent:
                del self._tokens[_key(request)]
            header = self._answer(request, challenge)
        return header if header != sent else None

    def tried(self, request: Request) -> str:
        """What credentials went with a request, as a hint for the user."""
        found = self._lookup(request)
        place = f"{request.endpoint.registry}/{request.repository}"
        if found.credentials is not None:
            user = f" of user {shown(found.credentials.username)}" if found.credentials.username else ""
            source = found.credentials.source
            return f"the credentials{user} from {source} were tried; are they right for {place}?"
        said = "".join(f"; {note}" for note in (*found.notes, *found.remarks))
        places = self._credentials.looked_in()
        return f"no credentials for {place} (looked in: {places}{said}); log in, or check the name"

    def find(self, registry: str, repository: str) -> None:
        """Look credentials up before they are asked for; those of a helper program are then known."""
        self._look_up(registry, repository)

    def seal(self) -> None:
        """Run no helper program any more."""
        self._credentials.helpers.seal()

    def _registry_lock(self, request: Request) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(request.endpoint.base_url, threading.Lock())

    def _lookup(self, request: Request) -> Lookup:
        return self._look_up(request.endpoint.registry, request.repository)

    def _look_up(self, registry: str, repository: str) -> Lookup:
        key = (registry, repository)
        known = self._lookups.get(key)
        if known is None or (known.until is not None and self._clock() >= known.until):
            found = self._credentials.lookup(*key)
            until = None if found.life_s is None else self._clock() + found.life_s
            known = self._lookups[key] = _Known(found, until)
            for note in found.notes:
                self._reporter.report(Note(f"credentials for {key[0]}: {note}", "warning"))
        return known.lookup

    def _answer(self, request: Request, challenge: Challenge) -> str | None:
        credentials = self._lookup(request).credentials
        if challenge.scheme == "basic":
            return credentials.basic if credentials is not None else None
        if credentials is not None and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        kept = self._tokens.get(_key(request))
        if kept is None or self._clock() >= kept.refresh_at:
            kept = self._fetch_token(request, challenge, credentials)
            if kept is None:
                return None
            self._tokens[_key(request)] = kept
        return kept.header

    def _fetch_token(
        self, request: Request, challenge: Challenge, credentials: Credentials | None
    ) -> _Token | None:
        realm = resolve_realm(request.endpoint.base_url, challenge.parameters.get("realm", ""))
        scopes = _scopes(request, challenge)
        if credentials is not None and credentials.identity_token:
            question = self._refresh_request(request, realm, challenge, scopes, credentials)
        else:
            question = _token_request(request, realm, challenge, scopes, credentials)
        reply = self._fetch(question)
        if reply.status not in _TOKEN_STATUSES:
            raise refusal(reply, question.doing, tried=self.tried(request))
        document = _decode(reply)
        rotated = document.get("refresh_token")
        if credentials is not None and credentials.identity_token and isinstance(rotated, str) and rotated:
            self._rotated[credentials.source, credentials.identity_token] = rotated
        return self._read_token(document)

    def _refresh_request(
        self,
        request: Request,
        realm: str,
        challenge: Challenge,
        scopes: tuple[str, ...],
        credentials: Credentials,
    ) -> Request:
        token = self._rotated.get(
            (credentials.source, credentials.identity_token), credentials.identity_token
        )
        form = {
            "grant_type": "refresh_token",
            "service": challenge.parameters.get("service", ""),
            "scope": " ".join(scopes),
            "client_id": _CLIENT_ID,
            "refresh_token": token,
        }
        data = urlencode(form).encode()
        return Request(
            "POST",
            request.endpoint,
            realm,
            f"get a token for {request.endpoint.registry}",
            headers={"Content-Type": _FORM},
            body=Body(lambda: io.BytesIO(data), len(data)),
            is_authorised=False,
        )

    def _read_token(self, document: Mapping[str, Any]) -> _Token | None:
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token:
            return None  # an empty answer means: go on without
        if not token.isascii() or not token.isprintable():
            raise AuthError("a token service gave a token that no header can hold")
        life = document.get("expires_in")
        valid = isinstance(life, int | float) and not isinstance(life, bool) and life > 0
        life_s = float(life) if valid and life is not None else _DEFAULT_LIFE_S
        # The life counts from here: the service's clock (`issued_at`) may be off.
        return _Token(f"Bearer {token}", self._clock() + life_s * _USED_LIFE)


def _key(request: Request) -> _TokenKey:
    return request.endpoint.base_url, request.repository, request.scopes


def _scopes(request: Request, challenge: Challenge) -> tuple[str, ...]:
    """Ours, then those of the challenge that name something else (a mirror may rename repositories).

    Ours are first because some services read one scope only.
    """
    ours = {scope.rpartition(":")[0] for scope in request.scopes}
    asked = challenge.parameters.get("scope", "").split()[:8]
    return (*request.scopes, *(scope for scope in asked if scope.rpartition(":")[0] not in ours))


def _token_request(
    request: Request,
    realm: str,
    challenge: Challenge,
    scopes: tuple[str, ...],
    credentials: Credentials | None,
) -> Request:
    service = challenge.parameters.get("service")
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    headers = {}
    if credentials is not None and credentials.basic is not None:
        headers["Authorization"] = credentials.basic
    return Request(
        "GET",
        request.endpoint,
        with_query(realm, urlencode(query)) if query else realm,
        f"get a token for {request.endpoint.registry}",
        headers=headers,
        is_authorised=False,
    )


def _decode(reply: Reply) -> dict[str, Any]:
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AuthError(f"{redacted(reply.url)} gave no JSON object where a token was expected")
    return document
