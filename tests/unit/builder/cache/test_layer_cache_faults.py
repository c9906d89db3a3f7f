"""The cache of a build when the registry behind it fails or hangs."""

import threading
import time
from dataclasses import dataclass, field

import pytest

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.layer_cache import LOOKUP_BUDGET_S
from support.faulty_registry import Answer, Asked, FaultyRegistry
from unit.builder.cache.cache_bench import BELOW, Bench, Clock, entry, key

FAULTS = {
    "unauthorized": Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
    "forbidden": Answer(403, b'{"errors":[{"code":"DENIED"}]}'),
    "busy": Answer(429, headers={"Retry-After": "60"}),
    "broken": Answer(500),
    "unavailable": Answer(503),
    "drops": Answer(None),
    "web page": Answer(200, b"<html>", {"Content-Type": "text/html"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_repository_that_fails_costs_little_and_one_warning(bench: Bench, name: str) -> None:
    with FaultyRegistry(lambda _: FAULTS[name]) as registry:
        with bench.cache(bench.repository(registry.host)) as cache:
            cache.ask(key(number) for number in range(20))
            verdicts = [cache.verdict(key(number), below=BELOW) for number in range(20)]
            assert {verdict.entry for verdict in verdicts} == {None}
            for number in range(20):
                cache.keep(entry(number))
        posts = [line for line in registry.lines if not line.startswith(("GET", "HEAD"))]
    assert len(bench.warnings) == (4 if name == "web page" else 1)
    if name != "web page":  # which takes everything
        assert len(posts) <= 10
    assert bench.clock.now_s <= 20 * LOOKUP_BUDGET_S  # of all threads together


@pytest.mark.parametrize("answer", [Answer(404), Answer(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}')])
def test_a_repository_that_does_not_exist_yet_is_no_trouble(bench: Bench, answer: Answer) -> None:
    with FaultyRegistry(lambda _: answer) as registry:
        cache = bench.cache(bench.repository(registry.host))
        verdict = cache.verdict(key(1), below=BELOW)
    assert (verdict.entry, verdict.reason) == (None, "not in the cache")
    assert bench.warnings == []


def test_a_repository_without_write_access_is_told_once(bench: Bench) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(404 if asked.method in ("GET", "HEAD") else 403)

    with FaultyRegistry(answer) as registry, bench.cache(bench.repository(registry.host)) as cache:
        for number in range(20):
            assert cache.verdict(key(number), below=BELOW).entry is None
            cache.keep(entry(number))
    assert len(bench.warnings) == 1
    assert "not kept" in bench.warnings[0]
    assert sum(line.startswith("POST") for line in registry.lines) <= 4


def test_nothing_listens(bench: Bench) -> None:
    with FaultyRegistry(lambda _: Answer(200)) as registry:
        host = registry.host
    with bench.cache(bench.repository(host)) as cache:
        for number in range(20):
            assert cache.verdict(key(number), below=BELOW).entry is None
            cache.keep(entry(number))
    assert len(bench.warnings) == 1


@dataclass
class Slow:
    """A backend that answers when it may."""

    clock: Clock
    opened: threading.Event = field(default_factory=threading.Event)
    name: str = "slow"
    asked: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def find(self, key: str) -> CacheEntry | None:
        self.asked.append(key)
        self.clock.sleep(LOOKUP_BUDGET_S)
        self.opened.wait(10)
        return None

    def keep(self, entry: CacheEntry, open_layer: object) -> None:
        self.kept.append(entry.key)
        self.clock.sleep(LOOKUP_BUDGET_S + 1)
        self.opened.wait(10)


def test_a_cache_that_hangs_is_given_up(bench: Bench) -> None:
    slow = Slow(bench.clock)
    cache = bench.cache(slow, budget_s=0.2)
    for number in range(20):
        assert cache.verdict(key(number), below=BELOW).entry is None
        cache.keep(entry(number))
    cache.close()
    slow.opened.set()
    assert len(bench.warnings) == 1
    assert len(slow.asked) == 1
    assert slow.kept == []


def test_writes_that_hang_are_given_up(bench: Bench) -> None:
    slow = Slow(bench.clock)
    cache = bench.cache(slow)
    for number in range(5):
        cache.keep(entry(number))
    while not slow.kept:
        time.sleep(0.01)
    mover = threading.Thread(target=_move_on, args=(bench.clock, slow.opened))
    mover.start()
    cache.close()
    slow.opened.set()
    mover.join()
    assert len(bench.warnings) == 1
    assert len(slow.kept) <= 2


def _move_on(clock: Clock, until: threading.Event) -> None:
    while not until.wait(0.05):
        clock.sleep(1)


def test_what_fails_otherwise_is_not_swallowed(bench: Bench) -> None:
    class Broken(Slow):
        def keep(self, entry: CacheEntry, open_layer: object) -> None:
            raise ZeroDivisionError

    cache = bench.cache(Broken(bench.clock))
    cache.keep(entry(1))
    with pytest.raises(ZeroDivisionError):
        cache.close()
