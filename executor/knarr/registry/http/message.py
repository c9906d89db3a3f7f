"""Requests to a registry with their replies."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from knarr.registry.http.hosts import Endpoint

BlobSource = Callable[[], BinaryIO]
"""Opens a blob's bytes from their start; called again for each try, each file closed by the caller."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request sends: exactly `size_bytes` bytes of a source that can be opened again."""

    source: BlobSource
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request to an endpoint's API, or to a URL that it sent us to."""

    method: str
    endpoint: Endpoint
    url: str
    doing: str
    """What for, as it follows "can't" in a message."""
    repository: str = ""
    """Picks the credentials; with the endpoint's prefix."""
    scopes: tuple[str, ...] = ()
    """Token scopes, the one of the repository first (distribution's token specification)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    accepted: frozenset[int] = frozenset({200})
    """Statuses that are answers; others raise."""
    tries: int | None = None
    """Instead of the policy's."""
    is_authorised: bool = True
    """Whether credentials may go with it."""
    stores: bool = False
    """Whether what it brings is to be kept, which may take the registry long before it answers."""
    patience: int = 1
    """How often the usual time an answer is waited for; of no account where something is to be kept."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request showed of us."""

    header: str = field(default="", repr=False)
    """The Authorization header; empty for none."""
    owner: str = ""
    """Whose credentials are behind it, for messages; empty where it is nobody's, as an anonymous token."""


NOTHING = Shown()


@dataclass(frozen=True, slots=True)
class RegistryProblem:
    """One entry of the error document (distribution-spec, "Error Codes")."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A status with headers (names in lower case) and a body that was read whole."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    shown: Shown = NOTHING
    """What the request that it answers showed of us."""

    @property
    def problems(self) -> tuple[RegistryProblem, ...]:
        """What the error document says; empty where the body is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return ()
        errors = value.get("errors") if isinstance(value, dict) else None
        if not isinstance(errors, list):
            return ()
        entries = [entry for entry in errors[:10] if isinstance(entry, dict)]
        return tuple(
            RegistryProblem(str(entry.get("code") or ""), str(entry.get("message") or ""))
            for entry in entries
        )

    def says(self, *codes: str) -> bool:
        """Whether the error document has one of these codes."""
        return any(problem.code in codes for problem in self.problems)


def pull_scope(repository: str) -> str:
    """Scope to read a repository."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """Scope to write a repository; registries want it with reading, in this order."""
    return f"repository:{repository}:pull,push"
