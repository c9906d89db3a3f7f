"""Looks steps up before work starts, keeps what they made.

A lookup that fails costs the hit, never the build; so does one that takes too long.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from knarr.builder.cache.background import Background
from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.stores import CacheStore, JoinedStore, LayoutStore, RepositoryStore
from knarr.builder.cache.writer import CacheWriter
from knarr.builder.request.cache_settings import CacheSettings
from knarr.errors import AuthError, CorruptError, KnarrError
from knarr.images.blobs import Blobs
from knarr.images.image import OpenLayer
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note, Reporter
from knarr.registry.client import Client

LOOKUP_BUDGET_S = 10.0
"""All lookups of a build together wait no longer than this."""

_JOBS = 8
_MAX_DAMAGED = 3
"""After so many this is no cache, but a web page, say."""
_MAX_AHEAD_S = 24 * 3600
"""How far the clock of the builder that made an entry may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the cache says of a step: an entry, or why there is none to use."""

    entry: CacheEntry | None
    reason: str


class LayerCache:
    """The cache of one build; the caller closes it, which waits for what is still being kept."""

    def __init__(
        self,
        backend: CacheStore,
        reporter: Reporter,
        open_layer: OpenLayer,
        *,
        now_s: int,
        ttl_s: float,
        writes: bool,
        clock: Callable[[], float],
        budget_s: float = LOOKUP_BUDGET_S,
        take_borrowed: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """An entry counts for `ttl_s`; all lookups together wait for `budget_s` at most.

        `open_layer` opens the layers that are to be kept. `take_borrowed` says once of a key that the place
        that is written to lacks what was found.
        """
        self._backend = backend
        self._reporter = reporter
        self._now_s = now_s
        self._ttl_s = ttl_s
        self._clock = clock
        self._take_borrowed = take_borrowed
        self._budget_s = self._left_s = budget_s
        self._pool: Background[CacheEntry | None] = Background(_JOBS)
        self._writer = CacheWriter(backend, reporter, open_layer, clock=clock) if writes else None
        self._lookups: dict[str, Future[CacheEntry | None]] = {}
        self._distrusted: dict[str, str] = {}
        self._trouble = ""
        """Why nothing is looked up any more."""

    def ask(self, keys: Iterable[str]) -> None:
        """Begin to look keys up."""
        for key in keys:
            if key not in self._lookups and not self._trouble:
                self._reporter.report(Note(f"Checking for cached layer {self._backend.name}:{key}..."))
                self._lookups[key] = self._pool.submit(partial(self._backend.find, key))

    def verdict(self, key: str, *, below: str) -> Verdict:
        """The entry of a step on what `below` is the state_key of. Never raises KnarrError."""
        self.ask([key])
        lookup = self._lookups.get(key)
        if lookup is None or (self._trouble and not lookup.done()):
            return Verdict(None, self._trouble)
        started = self._clock()
        wait([lookup], timeout=max(0.0, self._left_s))
        self._left_s -= self._clock() - started
        if not lookup.done():
            return self._given_up(f"its answers take longer than {self._budget_s:g} s")
        try:
            entry = lookup.result()
        except CorruptError as error:
            if len(self._distrusted) >= _MAX_DAMAGED:
                return self._given_up(f"it has many damaged entries: {error.message}", writes=True)
            self.distrust(key, error.message)
            return Verdict(None, self._distrusted[key])
        except KnarrError as error:
            return self._given_up(error.message, writes=isinstance(error, AuthError))
        verdict = self._judged(key, entry, below)
        is_borrowed = self._take_borrowed(key)
        if verdict.entry is not None and is_borrowed:
            self.keep(verdict.entry)
        return verdict

    def distrust(self, key: str, why: str) -> None:
        """Use the entry of a key no more: it is not what it claims to be."""
        if key not in self._distrusted:
            self._distrusted[key] = "its entry in the cache is damaged"
            self._reporter.report(
                Note(f"the cache entry {self._backend.name}:{key} is not used: {why}", "warning")
            )

    def keep(self, entry: CacheEntry) -> None:
        """Put an entry into the cache, in the background."""
        if self._writer is not None:
            self._writer.keep(entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was made before a step failed is worth keeping; a signal waits for nothing.
        self.close(waits=kind is None or issubclass(kind, KnarrError))

    def close(self, *, waits: bool = True) -> None:
        """Drop lookups that nobody waits for; with `waits` return when all is kept."""
        for lookup in self._lookups.values():
            lookup.cancel()
        if self._writer is None:
            return
        if waits:
            self._writer.wait()
        else:
            self._writer.stop()

    def _judged(self, key: str, entry: CacheEntry | None, below: str) -> Verdict:
        if key in self._distrusted:
            return Verdict(None, self._distrusted[key])
        if entry is None:
            return Verdict(None, "not in the cache")
        if entry.below != below:
            return Verdict(None, "the cached layer was made on something else")
        age_s = self._now_s - entry.created_s
        if age_s > self._ttl_s:
            return Verdict(None, f"expired: {age_s // 3600} h old")
        if age_s < -_MAX_AHEAD_S:
            return Verdict(None, "the cached layer says it was made in the future")
        return Verdict(entry, "")

    def _given_up(self, why: str, *, writes: bool = False) -> Verdict:
        """Ask no more. `writes`: a write may still go well, as a repository may be hidden until then."""
        if not self._trouble:
            self._trouble = "the cache can't be used"
            self._reporter.report(Note(f"building without the cache {self._backend.name}: {why}", "warning"))
            if self._writer is not None:
                self._writer.hush()
                if not writes:
                    self._writer.stop()
        return Verdict(None, self._trouble)


@contextmanager
def open_cache(
    settings: CacheSettings, client: Client, blobs: Blobs, platform: Platform, *, now_s: int
) -> Iterator[LayerCache]:
    """The cache of a build; leaving the block waits for what is still being kept."""
    with ExitStack() as exits:

        def opened(place: Reference | Path) -> CacheStore:
            if isinstance(place, Path):
                return LayoutStore(place, blobs, platform)
            patient = exits.enter_context(client.for_cache(patient=True))
            hasty = exits.enter_context(client.for_cache(patient=False))
            blobs.reach(place, patient)
            return RepositoryStore(patient, hasty, place, platform)

        first, *others = [opened(place) for place in (settings.place, *settings.further)]
        store = JoinedStore(first, others, client.reporter)
        cache = LayerCache(
            store,
            client.reporter,
            blobs.open_packed,
            now_s=now_s,
            ttl_s=settings.ttl_s,
            writes=settings.writes,
            clock=client.clock,
            take_borrowed=store.take_borrowed,
        )
        yield exits.enter_context(cache)
