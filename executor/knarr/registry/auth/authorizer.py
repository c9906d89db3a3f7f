"""Answers to a registry's challenges: Basic, bearer tokens (distribution's token specification)."""

import dataclasses
import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from knarr.errors import AuthError
from knarr.progress import Note, Reporter
from knarr.registry.auth.challenge import Challenge, choose_challenge
from knarr.registry.auth.credentials import Credentials, CredentialStore, Lookup
from knarr.registry.http.addresses import is_loopback
from knarr.registry.http.failures import refusal
from knarr.registry.http.hosts import Plain
from knarr.registry.http.locations import redacted, resolve_realm, shown, with_query
from knarr.registry.http.message import NOTHING, Body, Reply, Request, Shown

_DEFAULT_LIFE_S = 60.0
_USED_LIFE = 0.8
_CLIENT_ID = "knarr"
_TOKEN_STATUSES = frozenset({200})
_FORM = "application/x-www-form-urlencoded"

_REFUSED = frozenset({400, 401, 403, 404})
"""What token services say to credentials that they do not take."""
_MAX_ANSWERS = 2

_Place = tuple[str, str]
"""Base URL of an endpoint with a repository, or a registry with one."""


@dataclass(frozen=True, slots=True)
class _TokenKey:
    """What a token was asked for with; it is good for no other request."""

    base_url: str
    realm: str
    service: str
    scopes: tuple[str, ...]
    credentials: Credentials | None


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    refresh_at: float


@dataclass(frozen=True, slots=True)
class _Found:
    """What a lookup found; `until` is where it is to be looked up again."""

    lookup: Lookup
    until: float | None


class Memory:
    """What is known of registries for as long as the process lives; several authorizers may share it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.locks: dict[str, threading.Lock] = {}
        self.challenges: dict[_Place, Challenge] = {}
        self.more_scopes: dict[tuple[_Place, tuple[str, ...]], tuple[str, ...]] = {}
        """What a challenge asked for beside the scopes of the very requests that it answered."""
        self.tokens: dict[_TokenKey, _Token] = {}
        self.denied: dict[_TokenKey, Reply] = {}
        """What token services said to who asked for more than one scope."""
        self.lookups: dict[_Place, _Found] = {}
        self.rotated: dict[tuple[str, str], str] = {}
        self.refused: set[tuple[_Place, str]] = set()
        """Sources of credentials that nobody gave, which a registry refused for a repository."""

    def lock_of(self, base_url: str) -> threading.Lock:
        """The lock of one registry."""
        with self.lock:
            return self.locks.setdefault(base_url, threading.Lock())


class Authorizer:
    """Finds what to show a registry, keeps tokens while they live.

    A token is asked for with the scopes of the request at hand and no others. Safe to use from several
    threads: of those that need the same registry's token, one fetches it.
    """

    def __init__(
        self,
        credentials: CredentialStore,
        *,
        fetch: Callable[[Request], Reply],
        clock: Callable[[], float],
        reporter: Reporter,
        memory: Memory | None = None,
    ) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self._clock = clock
        self._reporter = reporter
        self._memory = memory or Memory()

    def header(self, request: Request) -> Shown:
        """What to show at once, by what the registry asked for this repository before; may fetch a token."""
        challenge = self._memory.challenges.get(_place(request))
        if challenge is None:
            return NOTHING
        with self._memory.lock_of(request.endpoint.base_url):
            return self._answer(request, challenge)

    def answer(
        self, request: Request, status: int, www_authenticate: str, sent: Shown, *, answers: int
    ) -> Shown | None:
        """What to show after a 401 or 403; None where there is nothing other than `sent`.

        `answers` is how many of this request's were answered before.
        """
        with self._memory.lock_of(request.endpoint.base_url):
            challenge = choose_challenge(www_authenticate) if status == 401 else None
            if challenge is not None:
                self._remember(request, challenge, sent)
            registry, repository = request.endpoint.registry, request.repository
            credentials = self._look_up(registry, repository).credentials if sent.owner else None
            is_implicit = credentials is not None and credentials.is_implicit
            if challenge is not None and answers < (1 if is_implicit else _MAX_ANSWERS):
                other = self._answer(request, challenge)
                if other.header != sent.header:
                    return other
            if not self._drop(request, credentials, status):
                return None
            known = self._memory.challenges.get(_place(request))
            return self._answer(request, known) if known is not None else NOTHING

    def tried(self, request: Request, sent: Shown) -> str:
        """What credentials went with a request, as a hint for the user."""
        place = f"{request.endpoint.registry}/{request.repository}"
        if sent.owner:
            return f"{sent.owner} were tried; are they right for {place}?"
        found = self._look_up(request.endpoint.registry, request.repository)
        credentials = found.credentials
        if credentials is not None and self._is_refused(request, credentials):
            return f"{_owner(credentials)} were refused, then none were sent; log in to {place}"
        if credentials is not None and _is_exposed(request):
            host = request.endpoint.registry
            return (
                f"{_owner(credentials)} are not sent over plain http; say --insecure-registry={host} if that "
                "is meant"
            )
        if credentials is not None:
            return f"{_owner(credentials)} were not sent: {request.endpoint.registry} did not ask for them"
        said = "".join(f"; {note}" for note in (*found.notes, *found.remarks))
        places = self._credentials.looked_in()
        return f"no credentials for {place} (looked in: {places}{said}); log in, or check the name"

    def find(self, registry: str, repository: str) -> None:
        """Look credentials up before they are asked for; those of a helper program are then known."""
        self._look_up(registry, repository)

    def seal(self) -> None:
        """Run no helper program any more."""
        self._credentials.helpers.seal()

    def _remember(self, request: Request, challenge: Challenge, sent: Shown) -> None:
        memory, place = self._memory, _place(request)
        memory.challenges[place] = challenge
        memory.more_scopes[place, request.scopes] = _more_scopes(request, challenge, sent)
        for key in [key for key, token in memory.tokens.items() if token.header == sent.header]:
            del memory.tokens[key]

    def _drop(self, request: Request, credentials: Credentials | None, status: int) -> bool:
        """Go on without credentials that nobody gave, where what is asked for may be public; said once."""
        is_read = request.method in ("GET", "HEAD") and all(each.endswith(":pull") for each in request.scopes)
        if credentials is None or not credentials.is_implicit or not is_read:
            return False
        if self._is_refused(request, credentials):
            return True  # another thread was first
        self._memory.refused.add((_named(request), credentials.source))
        place = f"{request.endpoint.registry}/{request.repository}"
        text = f"{_owner(credentials)} were refused for {place} ({status}): going on without any"
        self._reporter.report(Note(text, "warning"))
        return True

    def _is_refused(self, request: Request, credentials: Credentials) -> bool:
        return (_named(request), credentials.source) in self._memory.refused

    def _lookup(self, request: Request) -> Lookup:
        """The credentials that may go with a request."""
        found = self._look_up(request.endpoint.registry, request.repository)
        if found.credentials is None:
            return found
        is_read = all(scope.endswith(":pull") for scope in request.scopes)
        if _is_exposed(request) or (is_read and self._is_refused(request, found.credentials)):
            return Lookup()
        return found

    def _look_up(self, registry: str, repository: str) -> Lookup:
        key = (registry, repository)
        known = self._memory.lookups.get(key)
        if known is None or (known.until is not None and self._clock() >= known.until):
            found = self._credentials.lookup(*key)
            until = None if found.life_s is None else self._clock() + found.life_s
            known = self._memory.lookups[key] = _Found(found, until)
            for note in found.notes:
                self._reporter.report(Note(f"credentials for {key[0]}: {note}", "warning"))
        return known.lookup

    def _answer(self, request: Request, challenge: Challenge) -> Shown:
        credentials = self._lookup(request).credentials
        owner = _owner(credentials) if credentials is not None else ""
        if challenge.scheme == "basic":
            basic = credentials.basic if credentials is not None else None
            return Shown(basic, owner) if basic else NOTHING
        if credentials is not None and credentials.registry_token:
            return Shown(f"Bearer {credentials.registry_token}", owner)
        is_plain_meant = request.endpoint.plain is Plain.ASKED
        given = challenge.parameters.get("realm", "")
        if request.endpoint.plain is Plain.LOCAL:
            is_plain_meant = is_loopback(urlsplit(given).hostname or "")
        realm = resolve_realm(request.endpoint.base_url, given, may_be_plain=is_plain_meant)
        scopes = (*request.scopes, *self._memory.more_scopes.get((_place(request), request.scopes), ()))
        service = challenge.parameters.get("service", "")
        key = _TokenKey(request.endpoint.base_url, realm, service, scopes, credentials)
        kept = self._memory.tokens.get(key)
        if kept is None or self._clock() >= kept.refresh_at:
            # Two scopes are asked for to mount a blob, of which there may be hundreds: a no is one for all.
            reply = self._memory.denied.get(key) or self._ask(request, key)
            if reply.status in _REFUSED and len(scopes) > 1:
                self._memory.denied[key] = reply
            if reply.status in _REFUSED and self._drop(request, credentials, reply.status):
                return self._answer(request, challenge)
            kept = self._accepted(request, key, reply)
            if kept is None:
                return NOTHING
            self._memory.tokens[key] = kept
        return Shown(kept.header, owner)

    def _ask(self, request: Request, key: _TokenKey) -> Reply:
        credentials = key.credentials
        if credentials is not None and credentials.identity_token:
            return self._fetch(self._refresh_request(request, key, credentials))
        return self._fetch(_token_request(request, key))

    def _accepted(self, request: Request, key: _TokenKey, reply: Reply) -> _Token | None:
        credentials = key.credentials
        if reply.status not in _TOKEN_STATUSES:
            sent = Shown(owner=_owner(credentials)) if credentials is not None else NOTHING
            asked = f"; the token was to be for {', '.join(key.scopes)}" if key.scopes else ""
            raise refusal(
                dataclasses.replace(reply, shown=sent),
                f"get a token for {request.endpoint.registry}",
                tried=self.tried(request, sent) + asked,
            )
        document = _decode(reply)
        rotated = document.get("refresh_token")
        if credentials is not None and credentials.identity_token and isinstance(rotated, str) and rotated:
            self._memory.rotated[credentials.source, credentials.identity_token] = rotated
        return self._read_token(document)

    def _refresh_request(self, request: Request, key: _TokenKey, credentials: Credentials) -> Request:
        token = self._memory.rotated.get(
            (credentials.source, credentials.identity_token), credentials.identity_token
        )
        form = {
            "grant_type": "refresh_token",
            "service": key.service,
            "scope": " ".join(key.scopes),
            "client_id": _CLIENT_ID,
            "refresh_token": token,
        }
        data = urlencode(form).encode()
        return Request(
            "POST",
            request.endpoint,
            key.realm,
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


def _place(request: Request) -> _Place:
    return request.endpoint.base_url, request.repository


def _named(request: Request) -> _Place:
    return request.endpoint.registry, request.repository


def _is_exposed(request: Request) -> bool:
    """Whether what is sent can be read by others, and nobody said that this is meant."""
    return request.endpoint.plain is Plain.TOLERATED and request.endpoint.base_url.startswith("http:")


def _owner(credentials: Credentials) -> str:
    user = f" of user {shown(credentials.username)}" if credentials.username else ""
    return f"the credentials{user} from {credentials.source}"


def _more_scopes(request: Request, challenge: Challenge, sent: Shown) -> tuple[str, ...]:
    """Scopes that a challenge names beside ours: of something else (a mirror may rename repositories).

    What it says of our own repository counts only where a token for ours was not enough. Ours stay first,
    because some services read one scope only.
    """
    asked = challenge.parameters.get("scope", "").split()[:8]
    if sent.header and challenge.parameters.get("error") == "insufficient_scope":
        return tuple(scope for scope in asked if scope not in request.scopes)
    ours = {scope.rpartition(":")[0] for scope in request.scopes}
    return tuple(scope for scope in asked if scope.rpartition(":")[0] not in ours)


def _token_request(request: Request, key: _TokenKey) -> Request:
    query = [("service", key.service)] if key.service else []
    query += [("scope", scope) for scope in key.scopes]
    headers = {}
    if key.credentials is not None and key.credentials.basic is not None:
        headers["Authorization"] = key.credentials.basic
    return Request(
        "GET",
        request.endpoint,
        with_query(key.realm, urlencode(query)) if query else key.realm,
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
