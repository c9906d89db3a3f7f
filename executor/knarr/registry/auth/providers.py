"""Providers of credentials in the order in which they are asked."""

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from knarr.registry.auth.credentials import CredentialProvider, Lookup

_USED_LIFE = 0.8
"""Of the life that a provider promises; the rest is for what is under way then."""


@dataclass(frozen=True, slots=True)
class _Kept:
    lookup: Lookup
    until: float | None


class ProviderChain:
    """The first provider that knows a registry counts; each registry is asked for once while that holds.

    Safe to use from several threads.
    """

    def __init__(
        self, providers: Sequence[CredentialProvider], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._providers = tuple(providers)
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    @property
    def name(self) -> str:
        """The names of all, in order."""
        return ", ".join(provider.name for provider in self._providers) or "none"

    def lookup(self, registry: str) -> Lookup:
        """What the first says that knows credentials; notes and remarks are those of all that were asked."""
        with self._lock:
            kept = self._kept.get(registry)
            if kept is None or (kept.until is not None and self._clock() >= kept.until):
                found = self._ask(registry)
                until = None if found.life_s is None else self._clock() + found.life_s * _USED_LIFE
                kept = self._kept[registry] = _Kept(found, until)
            if kept.until is None:
                return kept.lookup
            return dataclasses.replace(kept.lookup, life_s=kept.until - self._clock())

    def _ask(self, registry: str) -> Lookup:
        notes: list[str] = []
        remarks: list[str] = []
        for provider in self._providers:
            found = provider.lookup(registry)
            notes += found.notes
            remarks += found.remarks
            if found.credentials is not None:
                return Lookup(found.credentials, tuple(notes), tuple(remarks), found.life_s)
        return Lookup(notes=tuple(notes), remarks=tuple(remarks))
