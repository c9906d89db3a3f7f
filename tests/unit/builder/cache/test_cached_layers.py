"""Cached layers are read whole before anything is built on them."""

import pytest

from knarr.builder.cache.cached_layers import CachedLayers
from knarr.images.image import Layer
from support.trees import items_of
from unit.builder.cache.cache_bench import BELOW, Bench, key


@pytest.fixture
def layers(bench: Bench) -> list[Layer]:
    return [bench.blobs.write_layer(items_of([f"f {number} =x"])) for number in range(3)]


def spoil(bench: Bench, layer: Layer) -> None:
    path = bench.blobs.store.path(layer.descriptor.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])


def test_the_first_damaged_one_is_found(bench: Bench, layers: list[Layer]) -> None:
    cache = bench.cache(bench.layouts())
    cached = CachedLayers(bench.blobs, cache)
    for number, layer in enumerate(layers):
        cached.add(layer, key(number))
    for layer in layers[1:]:
        spoil(bench, layer)
    assert cached.first_damaged(layers) is layers[1]
    assert len(bench.warnings) == 1
    assert key(1) in bench.warnings[0]
    assert cache.verdict(key(1), below=BELOW).reason == "its entry in the cache is damaged"
    assert cached.first_damaged(layers) is layers[2]
    assert cached.first_damaged(layers) is None


def test_a_layer_that_is_none_of_the_cache_is_not_read(bench: Bench, layers: list[Layer]) -> None:
    cached = CachedLayers(bench.blobs, bench.cache(bench.layouts()))
    cached.add(layers[0], key(0))
    spoil(bench, layers[1])
    assert cached.first_damaged(layers) is None
    assert bench.warnings == []


def test_a_layer_is_read_once(bench: Bench, layers: list[Layer]) -> None:
    cached = CachedLayers(bench.blobs, bench.cache(bench.layouts()))
    cached.add(layers[0], key(0))
    assert cached.first_damaged(layers) is None
    spoil(bench, layers[0])
    cached.add(layers[0], key(0))
    assert cached.first_damaged(layers) is None
