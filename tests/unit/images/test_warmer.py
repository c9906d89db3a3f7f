"""Base images that a warmer puts into a directory, and a build finds there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from knarr.errors import OutputError, RegistryError
from knarr.images.layout import OciLayout
from knarr.images.local_base_cache import LOCKS, LocalBaseCache
from knarr.images.store import Store
from knarr.images.warmer import Warmer
from knarr.oci import media_types
from knarr.oci.manifest import Descriptor, Index
from support.image_registry import AMD64
from support.registry_images import describe
from unit.images.conftest import Served

NOW_S, DAY_S = 2_000_000_000.0, 24 * 3600.0


def warm(served: Served, directory: Path, *, force: bool = False) -> Path:
    """Warm the image; the directory that it is in then."""
    warmer = Warmer(served.client, directory, ttl_s=NOW_S, now_s=NOW_S, force=force)
    return directory / str(warmer.warm(served.name, AMD64))


def cache(served: Served, directory: Path, *, ttl_s: float = NOW_S) -> LocalBaseCache:
    return LocalBaseCache(
        directory, served.events, ttl_s=ttl_s, now_s=NOW_S, sleep=lambda wait_s: pytest.fail("it waits")
    )


def pulls(served: Served) -> list[int]:
    return [served.registry.pulled(layer) for layer in served.registry.layers]


def test_an_image_is_there_as_a_layout(served: Served, tmp_path: Path) -> None:
    place = warm(served, tmp_path / "kept")
    assert sorted(os.listdir(tmp_path / "kept")) == [LOCKS, place.name]
    assert place.name == str(served.registry.digest)
    assert sorted(os.listdir(place)) == ["blobs", "index.json", "oci-layout"]
    layout = OciLayout(place)
    assert [entry.digest for entry in layout.entries()] == [served.registry.digest]
    assert all(layout.blobs.holds(layer) for layer in served.registry.layers)


def test_what_is_there_is_not_pulled_again(served: Served, tmp_path: Path) -> None:
    warm(served, tmp_path)
    warm(served, tmp_path)
    assert pulls(served) == [1, 1, 1]
    assert "already" in served.notes[-1]
    warm(served, tmp_path, force=True)
    assert pulls(served) == [2, 2, 2]


def test_only_what_is_damaged_is_pulled_again(served: Served, tmp_path: Path) -> None:
    place = warm(served, tmp_path)
    OciLayout(place).blobs.path(served.registry.layers[1].digest).write_bytes(b"short")
    warm(served, tmp_path)
    assert pulls(served) == [1, 2, 1]
    assert OciLayout(place).blobs.holds(served.registry.layers[1])


def test_an_index_is_kept_beside_its_image(served: Served, tmp_path: Path) -> None:
    image = Descriptor(
        media_types.OCI_MANIFEST,
        served.registry.digest,
        len(served.registry.manifest.to_bytes()),
        platform=AMD64,
    )
    data = Index(media_types.OCI_INDEX, (image,)).to_bytes()
    served.registry.documents["latest"] = (media_types.OCI_INDEX, data)
    warm(served, tmp_path)
    top = describe(data, media_types.OCI_INDEX).digest
    assert sorted(os.listdir(tmp_path)) == sorted([LOCKS, str(served.registry.digest), str(top)])
    found = cache(served, tmp_path)
    assert found.has(top)
    assert found.read(top, limit_bytes=1 << 20) == data


def test_a_failure_leaves_nothing(served: Served, tmp_path: Path) -> None:
    del served.registry.blobs[str(served.registry.layers[2].digest)]
    with pytest.raises(RegistryError):
        warm(served, tmp_path)
    assert os.listdir(tmp_path) == [LOCKS]


def test_a_place_that_is_no_directory(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"can't keep .* in "):
        warm(served, tmp_path / "file")


def test_a_build_finds_documents_and_layers(served: Served, tmp_path: Path) -> None:
    warm(served, tmp_path / "kept")
    store = Store.create(tmp_path / "store", durable=False)
    found = cache(served, tmp_path / "kept")
    layer = served.registry.layers[0]
    assert not found.holds(layer)  # nobody has asked for its image
    assert found.has(served.registry.digest)
    assert found.has(served.registry.manifest.config.digest)
    assert found.holds(layer)
    assert found.copy(layer, store)
    assert store.holds(layer)


@pytest.mark.parametrize(("age_s", "counts"), [(DAY_S, True), (3 * DAY_S, False)])
def test_what_is_old_does_not_count(served: Served, tmp_path: Path, age_s: float, *, counts: bool) -> None:
    place = warm(served, tmp_path)
    os.utime(place, (NOW_S - age_s, NOW_S - age_s))
    assert cache(served, tmp_path, ttl_s=2 * DAY_S).has(served.registry.digest) == counts


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [_cut, lambda path: path.unlink()])
def test_what_is_damaged_is_told_once(
    served: Served, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    place = warm(served, tmp_path)
    damage(OciLayout(place).blobs.path(served.registry.digest))
    served.events.events.clear()
    found = cache(served, tmp_path)
    for _ in range(2):
        assert not found.has(served.registry.digest)
    assert len(served.notes) == 1
    assert "is not used" in served.notes[0]


def test_a_damaged_layer_is_passed_over(served: Served, tmp_path: Path) -> None:
    place = warm(served, tmp_path / "kept")
    layer = served.registry.layers[0]
    _cut(OciLayout(place).blobs.path(layer.digest))
    store, found = Store.create(tmp_path / "store", durable=False), cache(served, tmp_path / "kept")
    assert found.has(served.registry.digest)
    assert not found.copy(layer, store)
    assert not found.holds(layer)
    assert not store.has(layer.digest)


def test_what_is_fetched_is_not_written_to_it(served: Served, tmp_path: Path) -> None:
    found = cache(served, tmp_path)
    with found.writer(served.registry.layers[0]) as writer:
        writer.write(b"anything")
    assert os.listdir(tmp_path) == []
