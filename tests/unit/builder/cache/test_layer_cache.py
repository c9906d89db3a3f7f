"""The cache of a build when what is behind it misbehaves."""

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.keys import digest_parts
from knarr.builder.cache.layer_cache import LayerCache
from knarr.errors import RegistryError
from knarr.images.layout import OciLayout
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from support.faulty_registry import Answer, Asked, FaultyRegistry
from unit.builder.cache.cache_bench import (
    AMD64,
    BELOW,
    DATA,
    DAY_S,
    LAYER,
    NOW_S,
    Bench,
    entry,
    key,
    open_data,
)


def test_what_was_kept_is_found(bench: Bench) -> None:
    with bench.cache(bench.layouts()) as cache:
        cache.keep(entry(1))
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


def test_builds_that_share_a_directory(bench: Bench) -> None:
    """Four processes replace and read the same entries: nobody warns, nothing is left behind."""
    forked = multiprocessing.get_context("fork")
    said: multiprocessing.Queue[str] = forked.Queue()
    builds = [forked.Process(target=_keep_and_find, args=(bench, number, said)) for number in range(4)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert [build.exitcode for build in builds] == [0] * 4
    assert said.empty(), said.get()
    assert sorted(os.listdir(bench.place / "cache")) == sorted([key(1), key(2)])
    assert all(bench.layouts().find(key(number)) is not None for number in (1, 2))


def _keep_and_find(bench: Bench, number: int, said: "multiprocessing.Queue[str]") -> None:
    for count in range(50):
        with bench.cache(bench.layouts()) as cache:
            for each in (1, 2):
                cache.keep(entry(each, created_s=NOW_S - 100 * number - count))
        verdict = bench.cache(bench.layouts()).verdict(key(1), below=BELOW)
        if verdict.entry is None:
            said.put(verdict.reason)
    for warning in bench.warnings:
        said.put(warning)


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
    written = OciLayout(layout)
    store = Store.create(layout, durable=False)
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads((layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_bytes())
    config = json.loads((layout / "blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())
    change(config)
    data = json.dumps(config).encode()
    manifest["config"] |= {"digest": str(store.add(data)), "size": len(data)}
    data = json.dumps(manifest).encode()
    written.write_index([Descriptor(media_types.OCI_MANIFEST, store.add(data), len(data))])


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


def test_a_failed_build_keeps_what_it_made(bench: Bench) -> None:
    def fail(cache: LayerCache) -> None:
        with cache:
            cache.keep(entry(1))
            raise RegistryError("no")

    with pytest.raises(RegistryError):
        fail(bench.cache(bench.layouts()))
    assert bench.layouts().find(key(1)) == entry(1)
