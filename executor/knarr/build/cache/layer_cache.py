"""Looks steps up before work starts, keeps what they made in the background.

A lookup that fails costs the hit, never the build; so does one that takes too long.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from knarr.build.cache.backends import Backend, OpenLayer
from knarr.build.cache.entry import CacheEntry
from knarr.build.cache.lookups import Lookups
from knarr.errors import KnarrError
from knarr.progress import Note, Reporter

LOOKUP_BUDGET_S = 10.0
"""All lookups of a build together wait no longer than this."""

_JOBS = 8
_WRITE_JOBS = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the cache says of a step: an entry, or why there is none to use."""

    entry: CacheEntry | None
    reason: str


class LayerCache:
    """The cache of one build; the caller closes it, which waits for what is still being kept."""

    def __init__(
        self,
        backend: Backend,
        reporter: Reporter,
        *,
        now_s: int,
        ttl_s: float,
        writes: bool,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._reporter = reporter
        self._now_s = now_s
        self._ttl_s = ttl_s
        self._writes = writes
        self._clock = clock
        self._left_s = LOOKUP_BUDGET_S
        self._pool: Lookups[CacheEntry | None] = Lookups(_JOBS)
        self._writers = ThreadPoolExecutor(_WRITE_JOBS, thread_name_prefix="cache-push")
        self._lookups: dict[str, Future[CacheEntry | None]] = {}
        self._kept: list[Future[None]] = []
        self._given_up = False

    def ask(self, keys: Iterable[str]) -> None:
        """Begin to look keys up."""
        for key in keys:
            if key not in self._lookups and not self._given_up:
                self._reporter.report(Note(f"Checking for cached layer {self._backend.name}:{key}..."))
                self._lookups[key] = self._pool.submit(partial(self._backend.find, key))

    def has(self, key: str) -> bool:
        """Whether an entry of the key was found by now; it may still turn out to be of no use."""
        lookup = self._lookups.get(key)
        return lookup is not None and lookup.done() and not lookup.exception() and lookup.result() is not None

    def verdict(self, key: str, *, below: str) -> Verdict:
        """The entry of a step on what `below` is the state_key of. Never raises."""
        self.ask([key])
        lookup = self._lookups.get(key)
        if lookup is None:
            return Verdict(None, f"{self._backend.name} does not answer")
        started = self._clock()
        wait([lookup], timeout=max(0.0, self._left_s))
        self._left_s -= self._clock() - started
        if not lookup.done():
            self._give_up()
            return Verdict(None, f"{self._backend.name} took longer than {LOOKUP_BUDGET_S:.0f} s")
        try:
            entry = lookup.result()
        except KnarrError as error:
            return self._ignored(key, error.message)
        return self._judged(key, entry, below)

    def keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        """Put an entry into the cache, in the background."""
        if self._writes:
            self._kept.append(self._writers.submit(self._keep, entry, open_layer))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abandon()
        self.close()

    def close(self) -> None:
        """Wait for what is being kept; lookups that nobody waits for are dropped."""
        for lookup in self._lookups.values():
            lookup.cancel()
        self._writers.shutdown(wait=True)

    def abandon(self) -> None:
        """Drop what was not begun: the build failed."""
        for future in self._kept:
            future.cancel()

    def _judged(self, key: str, entry: CacheEntry | None, below: str) -> Verdict:
        if entry is None:
            return Verdict(None, "not in the cache")
        if entry.below != below:
            return Verdict(None, "the cached layer was made on something else")
        age_s = self._now_s - entry.created_s
        if age_s > self._ttl_s:
            return Verdict(None, f"expired: {age_s // 3600} h old")
        return Verdict(entry, "")

    def _ignored(self, key: str, why: str) -> Verdict:
        self._reporter.report(Note(f"cache entry {self._backend.name}:{key} is not used: {why}", "warning"))
        return Verdict(None, "its entry can't be used")

    def _give_up(self) -> None:
        if not self._given_up:
            self._given_up = True
            self._reporter.report(
                Note(f"cache lookups in {self._backend.name} are too slow, building without them", "warning")
            )

    def _keep(self, entry: CacheEntry, open_layer: OpenLayer) -> None:
        self._reporter.report(Note(f"Pushing layer {self._backend.name}:{entry.keys[0]} to cache now"))
        try:
            self._backend.keep(entry, open_layer)
        except KnarrError as error:
            self._reporter.report(
                Note(f"a layer was not kept in {self._backend.name}: {error.message}", "warning")
            )
