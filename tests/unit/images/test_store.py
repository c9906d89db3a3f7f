import os
import threading
from pathlib import Path

import pytest

from knarr.errors import CorruptError, OutputError
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor


@pytest.fixture(params=[False, True], ids=["quick", "durable"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", durable=request.param)


def _descriptor(data: bytes) -> Descriptor:
    return Descriptor(media_types.OCI_LAYER, Digest.of(data), len(data))


def _ingested(store: Store) -> list[str]:
    return os.listdir(store.root / "ingest")


def test_what_is_added_is_read(store: Store) -> None:
    digest = store.add(b"cargo")
    assert digest == Digest.of(b"cargo")
    assert store.has(digest)
    assert store.size_bytes(digest) == 5
    assert store.read(digest, limit_bytes=5) == b"cargo"
    with store.open(digest) as file:
        assert file.read() == b"cargo"
    assert store.path(digest).stat().st_mode & 0o777 == 0o644
    assert _ingested(store) == []


def test_large_blob_comes_in_parts(store: Store) -> None:
    data = os.urandom(3_000_001)
    with store.writer(_descriptor(data)) as writer:
        for start in range(0, len(data), 65_537):
            writer.write(memoryview(data)[start : start + 65_537])
        assert writer.size_bytes == len(data)
        assert writer.digest == Digest.of(data)
    assert store.path(Digest.of(data)).read_bytes() == data


def test_sha512(store: Store) -> None:
    digest = Digest.of(b"cargo", "sha512")
    with store.writer(Descriptor(media_types.OCI_LAYER, digest, 5)) as writer:
        writer.write(b"cargo")
    assert store.read(digest, limit_bytes=10) == b"cargo"


@pytest.mark.parametrize("data", [b"", b"carg", b"cargo!", b"other"])
def test_what_is_not_as_promised_is_not_kept(store: Store, data: bytes) -> None:
    with pytest.raises(CorruptError, match="blob sha256:"), store.writer(_descriptor(b"cargo")) as writer:
        writer.write(data)
    assert not store.has(Digest.of(b"cargo"))
    assert not store.has(Digest.of(data))
    assert _ingested(store) == []


def test_what_was_given_up_is_not_kept(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.writer() as writer:
        raise KeyboardInterrupt(writer.write(b"cargo"))
    assert not store.has(Digest.of(b"cargo"))
    assert _ingested(store) == []


def test_nothing_is_seen_before_it_is_whole(store: Store) -> None:
    with store.writer() as writer:
        writer.write(b"cargo")
        assert not store.has(Digest.of(b"cargo"))
    assert store.has(Digest.of(b"cargo"))


def test_damage_is_found(store: Store) -> None:
    digest = store.add(b"cargo")
    store.path(digest).write_bytes(b"cargO")
    with pytest.raises(CorruptError, match="is damaged"):
        store.read(digest, limit_bytes=10)


def test_read_has_a_limit(store: Store) -> None:
    digest = store.add(b"cargo")
    with pytest.raises(CorruptError, match="larger than 4 bytes"):
        store.read(digest, limit_bytes=4)


def test_same_blob_from_several_threads(store: Store) -> None:
    data = os.urandom(1_000_000)
    threads = [threading.Thread(target=store.add, args=(data,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(Digest.of(data), limit_bytes=len(data)) == data
    assert _ingested(store) == []


def test_an_existing_store_is_kept(store: Store) -> None:
    digest = store.add(b"cargo")
    assert Store.create(store.root, durable=False).has(digest)


def test_a_file_is_no_place_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="can't make a store in"):
        Store.create(tmp_path / "file" / "store", durable=False)
