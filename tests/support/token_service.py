"""A registry whose token service gives nobody more than is theirs, and a 403 to who asks for it."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import parse_qs, urlsplit

from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.memory_registry import MemoryRegistry

READ = frozenset({"pull"})
ALL = frozenset({"pull", "push"})


@dataclass
class StrictRegistry:
    """A registry in memory behind tokens that hold for what they were asked for, and for nothing else.

    `rights` are actions by user and repository (or by a path above it, with a slash at its end); the empty
    user is nobody. A token request is refused whole where one of its scopes goes beyond them, or, unless
    `takes_several`, where it has more than one. A request is refused whose token lacks what it needs, or
    has any other repository in it.
    """

    rights: Mapping[str, Mapping[str, frozenset[str]]]
    passwords: Mapping[str, str] = field(default_factory=dict)
    takes_several: bool = True
    life_s: int = 300
    memory: MemoryRegistry = field(default_factory=MemoryRegistry)
    host: str = ""
    token_requests: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """User with scopes of each."""
    refused: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    shown: list[tuple[str, str]] = field(default_factory=list)
    """Repository and user of each request that had a token."""
    tokens: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    @contextmanager
    def started(self) -> "Iterator[StrictRegistry]":
        """It listens on a port of 127.0.0.1."""
        with FaultyRegistry(self) as faulty:
            self.host = self.memory.host = faulty.host
            yield self

    def expire(self) -> None:
        """End all tokens."""
        self.tokens.clear()

    def __call__(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        if parts.path == "/token":
            return self._token(asked, parse_qs(parts.query))
        if parts.path == "/v2/":
            return Answer(200)
        repository = _repository(parts.path)
        needed = [_scope(repository, "pull" if asked.method in ("GET", "HEAD") else "pull,push")]
        source = parse_qs(parts.query).get("from")
        if source:
            needed.append(_scope(source[0], "pull"))
        user, scopes = self.tokens.get(
            asked.headers.get("authorization", "").removeprefix("Bearer "), ("", ())
        )
        if not _covers(scopes, needed):
            realm = f'Bearer realm="http://{self.host}/token",service="strict",scope="{" ".join(needed)}"'
            return Answer(401, headers={"WWW-Authenticate": realm})
        self.shown.append((repository, user))
        return self.memory(asked)

    def _token(self, asked: Asked, query: Mapping[str, list[str]]) -> Answer:
        user = ""
        if "authorization" in asked.headers:
            kind, _, value = asked.headers["authorization"].partition(" ")
            assert kind == "Basic"
            user, _, password = base64.b64decode(value).decode().partition(":")
            if self.passwords.get(user) != password:
                self.refused.append((user, tuple(query.get("scope", []))))
                return Answer(401)
        scopes = tuple(query.get("scope", []))
        self.token_requests.append((user, scopes))
        if not all(self._may(user, scope) for scope in scopes) or len(scopes) > (
            9 if self.takes_several else 1
        ):
            self.refused.append((user, scopes))
            return Answer(403, b'{"errors":[{"code":"DENIED","message":"more than is yours"}]}')
        token = f"token-{next(self._numbers)}"
        self.tokens[token] = (user, scopes)
        return Answer(200, json.dumps({"token": token, "expires_in": self.life_s}).encode())

    def _may(self, user: str, scope: str) -> bool:
        _, repository, actions = scope.split(":")
        return any(
            set(actions.split(",")) <= allowed
            for name, allowed in self.rights.get(user, {}).items()
            if name == repository or (name.endswith("/") and repository.startswith(name))
        )


def _repository(path: str) -> str:
    for mark in ("/blobs/", "/manifests/", "/tags/"):
        if mark in path:
            return path.removeprefix("/v2/").partition(mark)[0]
    raise AssertionError(path)


def _scope(repository: str, actions: str) -> str:
    return f"repository:{repository}:{actions}"


def _covers(scopes: tuple[str, ...], needed: list[str]) -> bool:
    has = {scope.rpartition(":")[0]: set(scope.rpartition(":")[2].split(",")) for scope in scopes}
    wants = {scope.rpartition(":")[0]: set(scope.rpartition(":")[2].split(",")) for scope in needed}
    return has.keys() == wants.keys() and all(wants[name] <= has[name] for name in wants)
