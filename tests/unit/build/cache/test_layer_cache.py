"""The cache of a build when what is behind it misbehaves."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from knarr.build.blobs import Blobs
from knarr.build.cache.backends import Backend, LayoutBackend, RepositoryBackend
from knarr.build.cache.entry import CacheEntry
from knarr.build.cache.keys import digest_parts
from knarr.build.cache.layer_cache import LOOKUP_BUDGET_S, LayerCache
from knarr.build.image import ImageLayer
from knarr.errors import RegistryError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.store import Store
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry_images import Events

AMD64 = Platform.parse("linux/amd64")
NOW_S = 1_700_000_000
DAY_S = 24 * 3600
BELOW = digest_parts(["below"])
DATA = b"a layer" * 1000
LAYER = ImageLayer(Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(DATA), len(DATA)), Digest.of(b"plain"))


def key(number: int) -> str:
    return digest_parts(["key", str(number)])


def entry(number: int, **changes: object) -> CacheEntry:
    made = CacheEntry(LAYER, key(number), BELOW, NOW_S)
    return replace(made, **changes)  # type: ignore[arg-type]


def open_data(_: ImageLayer) -> BinaryIO:
    return io.BytesIO(DATA)


@dataclass
class Clock:
    """A clock that moves when told; sleeping moves it."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Bench:
    """A cache on some backend, with what it reported."""

    blobs: Blobs
    client: Client
    events: Events
    clock: Clock
    place: Path

    def layouts(self) -> LayoutBackend:
        return LayoutBackend(self.place / "cache", self.blobs, AMD64)

    def repository(self, host: str) -> RepositoryBackend:
        hasty = self.client.for_cache(patient=False)
        return RepositoryBackend(self.client, hasty, Reference(host, "app/cache"), AMD64)

    def cache(
        self,
        backend: Backend,
        *,
        now_s: int = NOW_S,
        ttl_s: float = 14 * DAY_S,
        budget_s: float = LOOKUP_BUDGET_S,
    ) -> LayerCache:
        made = LayerCache(
            backend,
            self.events,
            now_s=now_s,
            ttl_s=ttl_s,
            writes=True,
            clock=self.clock,
            budget_s=budget_s,
        )
        return made

    @property
    def warnings(self) -> list[str]:
        notes = [event for event in self.events.events if isinstance(event, Note)]
        return [note.text for note in notes if note.level == "warning"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock, events = Clock(), Events()
    with Client(reporter=events, sleep=clock.sleep) as client:
        blobs = Blobs(Store.create(tmp_path / "store", durable=False), client)
        yield Bench(blobs, client, events, clock, tmp_path)
        blobs.close()


def test_what_was_kept_is_found(bench: Bench) -> None:
    with bench.cache(bench.layouts()) as cache:
        cache.keep(entry(1), open_data)
    found = bench.cache(bench.layouts()).verdict(key(1), below=BELOW)
    assert found.entry == entry(1)
    assert bench.blobs.store.has(LAYER.descriptor.digest)
    missing = bench.cache(bench.layouts()).verdict(key(2), below=BELOW)
    assert (missing.entry, missing.reason) == (None, "not in the cache")
    assert bench.warnings == []


def test_an_entry_is_replaced(bench: Bench) -> None:
    backend = bench.layouts()
    backend.keep(entry(1), open_data)
    backend.keep(entry(1, created_s=NOW_S + 5), open_data)
    found = backend.find(key(1))
    assert found is not None
    assert found.created_s == NOW_S + 5
    assert [path.name for path in (bench.place / "cache").iterdir()] == [key(1)]


@pytest.mark.parametrize(
    ("now_s", "below", "reason"),
    [
        (NOW_S + 14 * DAY_S, BELOW, ""),
        (NOW_S + 14 * DAY_S + 1, BELOW, "expired: 336 h old"),
        (NOW_S - DAY_S, BELOW, ""),
        (NOW_S - DAY_S - 1, BELOW, "the cached layer says it was made in the future"),
        (NOW_S, digest_parts(["other"]), "the cached layer was made on something else"),
    ],
)
def test_whether_an_entry_counts(bench: Bench, now_s: int, below: str, reason: str) -> None:
    bench.layouts().keep(entry(1), open_data)
    verdict = bench.cache(bench.layouts(), now_s=now_s).verdict(key(1), below=below)
    assert verdict.reason == reason
    assert (verdict.entry is None) == bool(reason)
    assert bench.warnings == []


def _other_config(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    return lambda place: _rewrite(place / key(1), change)


def _rewrite(layout: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change the config of a layout, with all digests made to fit."""
    store = Store(layout, durable=False)
    (layout / "ingest").mkdir()
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads((layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_bytes())
    config = json.loads((layout / "blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())
    change(config)
    data = json.dumps(config).encode()
    manifest["config"] |= {"digest": str(store.add(data)), "size": len(data)}
    data = json.dumps(manifest).encode()
    store.write_index([Descriptor(media_types.OCI_MANIFEST, store.add(data), len(data))])


def _diff_id(config: dict[str, object]) -> None:
    config["rootfs"] = {"type": "layers", "diff_ids": [str(Digest.of(b"other"))]}


def _blob(place: Path, size_bytes: int) -> Path:
    blobs = (place / key(1) / "blobs/sha256").iterdir()
    return next(path for path in blobs if path.stat().st_size == size_bytes)


def _swap(place: Path) -> None:
    (place / key(1)).rename(place / "mine")
    (place / key(9)).rename(place / key(1))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "entry of another key": _swap,
    "wrong diff_id": _other_config(_diff_id),
    "later date": _other_config(lambda config: config.update(created="2999-01-01T00:00:00Z")),
    "no date": _other_config(lambda config: config.pop("created")),
    "date without a zone": _other_config(lambda config: config.update(created="2023-01-01T00:00:00")),
    "no properties": _other_config(lambda config: config.pop("dev.knarr.cache")),
    "another image": _other_config(lambda config: config.update({"dev.knarr.cache": []})),
    "two diff_ids": _other_config(
        lambda config: config.update(rootfs={"type": "layers", "diff_ids": [str(LAYER.diff_id)] * 2})
    ),
    "truncated layer": lambda place: _blob(place, len(DATA)).write_bytes(DATA[:-1]),
    "damaged layer": lambda place: _blob(place, len(DATA)).write_bytes(DATA[::-1]),
    "missing layer": lambda place: _blob(place, len(DATA)).unlink(),
    "layer that is a directory": lambda place: _to_directory(_blob(place, len(DATA))),
    "no index": lambda place: (place / key(1) / "index.json").unlink(),
    "empty index": lambda place: (place / key(1) / "index.json").write_text(""),
    "garbage index": lambda place: (place / key(1) / "index.json").write_bytes(b"\xff\x00"),
    "nested index": lambda place: (place / key(1) / "index.json").write_bytes(b"[" * 100_000),
    "huge index": lambda place: (place / key(1) / "index.json").write_bytes(b" " * 5_000_000),
    "index of nothing": lambda place: (place / key(1) / "index.json").write_text('{"manifests":[]}'),
    "index of a number": lambda place: (place / key(1) / "index.json").write_text('{"manifests":[1]}'),
    "index of a directory": lambda place: _to_directory(place / key(1) / "index.json"),
    "manifest is gone": lambda place: [path.rename(place / path.name) for path in _small(place)],
    "manifest is garbage": lambda place: [path.write_bytes(b"{}") for path in _small(place)],
    "a file": lambda place: ((place / key(1)).rename(place / "x"), (place / key(1)).write_text("x")),
}


def _small(place: Path) -> list[Path]:
    blobs = (place / key(1) / "blobs/sha256").iterdir()
    return [path for path in blobs if path.stat().st_size != len(DATA)]


def _to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_entry_is_ignored_with_one_warning(bench: Bench, name: str) -> None:
    backend = bench.layouts()
    for number in (1, 2, 9):
        backend.keep(entry(number), open_data)
    bench.blobs.store.path(LAYER.descriptor.digest).unlink(missing_ok=True)
    DAMAGES[name](bench.place / "cache")
    cache = bench.cache(backend)
    assert cache.verdict(key(1), below=BELOW).entry is None
    assert cache.verdict(key(1), below=BELOW).reason == "its entry in the cache is damaged"
    assert len(bench.warnings) == 1
    assert key(1) in bench.warnings[0]
    if "layer" not in name:
        assert cache.verdict(key(2), below=BELOW).entry == entry(2)
    backend.keep(entry(1), open_data)
    assert backend.find(key(1)) == entry(1)


def test_a_distrusted_entry_is_not_used_again(bench: Bench) -> None:
    bench.layouts().keep(entry(1), open_data)
    cache = bench.cache(bench.layouts())
    assert cache.verdict(key(1), below=BELOW).entry is not None
    cache.distrust(key(1), "its layer is not what was promised")
    cache.distrust(key(1), "its layer is not what was promised")
    assert cache.verdict(key(1), below=BELOW).entry is None
    assert len(bench.warnings) == 1


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
                cache.keep(entry(number), open_data)
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
            cache.keep(entry(number), open_data)
    assert len(bench.warnings) == 1
    assert "not kept" in bench.warnings[0]
    assert sum(line.startswith("POST") for line in registry.lines) <= 4


def test_nothing_listens(bench: Bench) -> None:
    with FaultyRegistry(lambda _: Answer(200)) as registry:
        host = registry.host
    with bench.cache(bench.repository(host)) as cache:
        for number in range(20):
            assert cache.verdict(key(number), below=BELOW).entry is None
            cache.keep(entry(number), open_data)
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
        cache.keep(entry(number), open_data)
    cache.close()
    slow.opened.set()
    assert len(bench.warnings) == 1
    assert len(slow.asked) == 1
    assert slow.kept == []


def test_writes_that_hang_are_given_up(bench: Bench) -> None:
    slow = Slow(bench.clock)
    cache = bench.cache(slow)
    for number in range(5):
        cache.keep(entry(number), open_data)
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


def test_a_missing_layer_is_noticed_ahead(bench: Bench) -> None:
    _answered = _serve(entry(1))

    def answer(asked: Asked) -> Answer:
        if asked.method == "HEAD" and str(LAYER.descriptor.digest) in asked.path:
            return Answer(404)
        return _answered(asked)

    with FaultyRegistry(answer) as registry:
        cache = bench.cache(bench.repository(registry.host))
        assert cache.verdict(key(1), below=BELOW).entry is None
    assert len(bench.warnings) == 1
    assert "is gone" in bench.warnings[0]


@pytest.mark.parametrize("size", [len(DATA), None])
def test_a_layer_that_is_there_is_not_read(bench: Bench, size: int | None) -> None:
    served = _serve(entry(1))

    def answer(asked: Asked) -> Answer:
        if str(LAYER.descriptor.digest) in asked.path:
            return Answer(200, headers={"Content-Length": str(size)}) if size else Answer(405)
        return served(asked)

    with FaultyRegistry(answer) as registry:
        cache = bench.cache(bench.repository(registry.host))
        found = cache.verdict(key(1), below=BELOW).entry
        assert found is not None
        assert found.layer is not None
        assert found.layer.origin is not None
        assert not any(
            line.startswith("GET") and str(LAYER.descriptor.digest) in line for line in registry.lines
        )


def _serve(entry: CacheEntry) -> Callable[[Asked], Answer]:
    config = entry.config(AMD64)
    manifest = entry.manifest(config)

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith(entry.key):
            return Answer(200, manifest, {"Content-Type": media_types.OCI_MANIFEST})
        if asked.path.endswith(str(Digest.of(config))):
            return Answer(200, config)
        return Answer(404)

    return answer


def test_what_fails_otherwise_is_not_swallowed(bench: Bench) -> None:
    class Broken(Slow):
        def keep(self, entry: CacheEntry, open_layer: object) -> None:
            raise ZeroDivisionError

    cache = bench.cache(Broken(bench.clock))
    cache.keep(entry(1), open_data)
    with pytest.raises(ZeroDivisionError):
        cache.close()


def test_a_failed_build_keeps_what_it_made(bench: Bench) -> None:
    def fail(cache: LayerCache) -> None:
        with cache:
            cache.keep(entry(1), open_data)
            raise RegistryError("no")

    with pytest.raises(RegistryError):
        fail(bench.cache(bench.layouts()))
    assert bench.layouts().find(key(1)) == entry(1)
