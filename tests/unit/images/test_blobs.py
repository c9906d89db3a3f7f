"""The blobs of a build: from a registry, from this machine, made by its steps."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.errors import CorruptError, RegistryError
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.images.store import Store
from knarr.layers.tar.read import read_members
from knarr.oci.reference import Reference
from support.trees import items_of
from unit.images.conftest import Served


@pytest.fixture
def blobs(served: Served, tmp_path: Path) -> Iterator[Blobs]:
    blobs = Blobs(Store.create(tmp_path / "store", durable=False), served.client)
    yield blobs
    blobs.close()


@pytest.fixture
def layers(served: Served) -> list[Layer]:
    origin = Reference.parse(f"{served.name}:latest")
    pairs = zip(served.registry.layers, served.registry.diff_ids, strict=True)
    return [Layer(descriptor, diff_id, origin) for descriptor, diff_id in pairs]


def names(blobs: Blobs, layer: Layer) -> list[str]:
    with blobs.open(layer) as stream:
        return [member.entry.path for member in read_members(stream)]


def test_a_layer_is_read_while_it_arrives_and_kept(served: Served, blobs: Blobs, layers: list[Layer]) -> None:
    assert not blobs.store.has(layers[0].descriptor.digest)
    assert names(blobs, layers[0]) == ["a"]
    assert names(blobs, layers[0]) == ["a"]
    assert served.registry.pulled(layers[0].descriptor) == 1
    with blobs.open_part(layers[0]) as part:
        assert part.read(1) == b"a"


def test_all_that_is_missing_is_brought(served: Served, blobs: Blobs, layers: list[Layer]) -> None:
    blobs.prefetch(layers)
    blobs.ensure([*layers, *layers])
    assert [served.registry.pulled(layer.descriptor) for layer in layers] == [1, 1, 1]
    assert all(blobs.store.holds(layer.descriptor) for layer in layers)


def test_a_layer_of_this_build_needs_no_registry(served: Served, blobs: Blobs) -> None:
    layer = blobs.write_layer(items_of(["f file =content"]))
    assert layer.origin is None
    assert names(blobs, layer) == ["file"]
    with blobs.open_packed(layer) as packed:
        assert len(packed.read()) == layer.descriptor.size_bytes
    assert served.registry.asked == []


def test_a_damaged_layer_is_told_with_its_repository(
    served: Served, blobs: Blobs, layers: list[Layer]
) -> None:
    digest = layers[1].descriptor.digest
    served.registry.blobs[str(digest)] = served.registry.blobs[str(digest)][::-1]
    for use in (lambda: names(blobs, layers[1]), lambda: blobs.ensure([layers[1]])):
        with pytest.raises(CorruptError, match=f"layer {digest} of {served.name}"):
            use()
    assert not blobs.store.has(digest)


def test_a_layer_that_is_gone(served: Served, blobs: Blobs, layers: list[Layer]) -> None:
    del served.registry.blobs[str(layers[0].descriptor.digest)]
    with pytest.raises(RegistryError, match="404"):
        blobs.open_packed(layers[0])
