import gzip
import hashlib
import io
import random
import threading
from collections.abc import Iterator

import pytest
import zstandard

from knarr.errors import CorruptError
from knarr.layers.read import LayerReader, open_layer
from knarr.layers.tar.read import TarReader
from unit.layers.tar.raw_tar import archive, file

NOISE = random.Random(3).randbytes(9_000_000)
PLAIN = archive(file(b"a", NOISE), file(b"b", b"x"))
PACKED = gzip.compress(PLAIN, 1)
DIFF_ID = "sha256:" + hashlib.sha256(PLAIN).hexdigest()


def drain(layer: LayerReader) -> None:
    while layer.read(1024 * 1024):
        pass


def stop_in_the_middle() -> None:
    with open_layer(io.BytesIO(PACKED)) as layer:
        layer.read(10)
        raise RuntimeError


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("size", [1000, 1024 * 1024, 10**9])
def test_gives_the_plain_bytes(size: int) -> None:
    with open_layer(io.BytesIO(PACKED), expected_diff_id=DIFF_ID) as layer:
        parts = []
        while data := layer.read(size):
            assert len(data) <= size
            parts.append(data)
        assert b"".join(parts) == PLAIN
        assert layer.read(1) == b""
        assert layer.verify() == DIFF_ID


def test_verifies_what_was_not_read_too() -> None:
    with open_layer(io.BytesIO(PACKED), expected_diff_id=DIFF_ID) as layer:
        assert next(iter(TarReader(layer))).path == "a"
        assert layer.verify() == DIFF_ID
    with open_layer(io.BytesIO(PACKED)) as layer:
        assert layer.verify() == DIFF_ID


def test_refuses_another_diff_id() -> None:
    with open_layer(io.BytesIO(PACKED), expected_diff_id="sha256:" + "0" * 64) as layer:
        assert [entry.path for entry in TarReader(layer)] == ["a", "b"]
        with pytest.raises(CorruptError, match="unpacks to sha256"):
            layer.verify()


@pytest.mark.parametrize(
    "packed", [PACKED[:-1], PACKED[:1000], PACKED + b"junk", PACKED[:5000] + PACKED[6000:]]
)
def test_damage_reaches_the_reader(packed: bytes) -> None:
    with open_layer(io.BytesIO(packed), expected_diff_id=DIFF_ID) as layer:
        with pytest.raises(CorruptError):
            drain(layer)
        with pytest.raises(CorruptError):
            layer.verify()


def test_an_error_of_the_stream_reaches_the_reader() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if self.tell() > 1_000_000:
                raise ConnectionResetError("reset")
            return data

    with open_layer(Broken(PACKED)) as layer:
        with pytest.raises(ConnectionResetError):
            drain(layer)


def test_can_be_closed_at_any_time() -> None:
    for _ in range(20):
        with open_layer(io.BytesIO(PACKED)):
            pass
        with open_layer(io.BytesIO(PACKED)) as layer:
            layer.read(10)
        layer.close()
    with pytest.raises(RuntimeError):
        stop_in_the_middle()


FIRST, OTHER = archive(file(b"a", b"1")), archive(file(b"b", b"2"))
JUNK = b"garbage behind the end"


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (FIRST + JUNK, FIRST + JUNK),
        (FIRST + OTHER, FIRST + OTHER),
        (gzip.compress(FIRST + JUNK), FIRST + JUNK),
        (gzip.compress(FIRST) + gzip.compress(OTHER), FIRST + OTHER),
        (zstandard.compress(FIRST) + zstandard.compress(OTHER), FIRST + OTHER),
        (gzip.compress(FIRST) + JUNK, None),
        (gzip.compress(FIRST) + gzip.compress(OTHER)[:20], None),
        (gzip.compress(FIRST)[:-4], None),
        (zstandard.compress(FIRST) + JUNK, None),
    ],
)
def test_a_diff_id_is_of_all_bytes_and_the_first_archive_is_the_layer(
    packed: bytes, plain: bytes | None
) -> None:
    """What a current BuildKit made of such a layer of a base image; None where it failed."""
    with open_layer(io.BytesIO(packed)) as layer:
        assert [entry.path for entry in TarReader(layer)] == ["a"]
        if plain is None:
            with pytest.raises(CorruptError):
                layer.verify()
        else:
            assert layer.verify() == "sha256:" + hashlib.sha256(plain).hexdigest()
