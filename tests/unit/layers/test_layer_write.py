import gzip
import hashlib
import io
import os
import random
import resource
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import zstandard

from knarr.errors import CorruptError, UsageError
from knarr.layers.compression import Compression, CompressionSettings
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.write import write_layer

NOISE = random.Random(7).randbytes(3_000_000)


def items() -> Iterator[LayerItem]:
    yield LayerItem(Entry("d", Kind.DIRECTORY, 0o755))
    for number in range(300):
        content = NOISE[number : number + number * 50]
        entry = Entry(f"d/{number}", Kind.FILE, 0o644, size=len(content))
        yield LayerItem(entry, partial(io.BytesIO, content) if content else None)
    yield LayerItem(Entry("big", Kind.FILE, 0o644, size=len(NOISE)), lambda: io.BytesIO(NOISE))


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


UNPACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.decompress,
    Compression.ZSTD: lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.mark.parametrize("compression", list(Compression))
def test_digests_and_sizes_are_those_of_the_bytes(compression: Compression) -> None:
    sink = io.BytesIO()
    layer = write_layer(items(), sink, compression=CompressionSettings(compression))
    packed = sink.getvalue()
    plain = UNPACK[compression](packed)
    assert (layer.digest, layer.size_bytes) == (sha256(packed), len(packed))
    assert layer.diff_id == sha256(plain)


@pytest.mark.parametrize("compression", list(Compression))
def test_the_same_items_give_the_same_bytes(compression: Compression) -> None:
    layers = {
        write_layer(items(), io.BytesIO(), compression=CompressionSettings(compression)) for _ in range(3)
    }
    assert len(layers) == 1


def test_reads_of_other_sizes_give_the_same_bytes() -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 1234))

    entry = Entry("big", Kind.FILE, 0o644, size=len(NOISE))
    whole = write_layer([LayerItem(entry, lambda: io.BytesIO(NOISE))], io.BytesIO())
    assert whole == write_layer([LayerItem(entry, lambda: Dribble(NOISE))], io.BytesIO())


def test_the_layer_of_nothing_has_the_well_known_diff_id() -> None:
    layer = write_layer([], io.BytesIO())
    assert layer.diff_id == "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


class FailingSink:
    def __init__(self, after: int) -> None:
        self.left = after

    def write(self, data: bytes, /) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return len(data)


@pytest.mark.parametrize("after", [0, 1_000_000, 4_500_000])
def test_a_failing_sink_ends_it(after: int) -> None:
    before = threading.active_count()
    with pytest.raises(OSError, match="No space left"):
        write_layer(items(), FailingSink(after), compression=CompressionSettings(Compression.NONE))
    assert threading.active_count() == before


@pytest.mark.parametrize("failing_sink", [False, True])
@pytest.mark.parametrize("number", [0, 1, 200])
def test_a_failing_item_ends_it(number: int, *, failing_sink: bool) -> None:
    def failing() -> Iterator[LayerItem]:
        for index, item in enumerate(items()):
            if index == number:
                raise RuntimeError("no more")
            yield item

    before = threading.active_count()
    with pytest.raises((RuntimeError, OSError)):
        write_layer(failing(), FailingSink(0) if failing_sink else io.BytesIO())
    assert threading.active_count() == before


def test_a_shrinking_file_ends_it() -> None:
    with pytest.raises(CorruptError, match="ended 1 bytes before"):
        write_layer([LayerItem(Entry("x", Kind.FILE, 0, size=2), lambda: io.BytesIO(b"1"))], io.BytesIO())


def test_an_impossible_level_is_refused_before_anything_is_written() -> None:
    sink = io.BytesIO()
    with pytest.raises(UsageError):
        write_layer(items(), sink, compression=CompressionSettings(Compression.GZIP, 99))
    assert sink.getvalue() == b""


def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(400 * 1024 * 1024)

    def one() -> Iterator[LayerItem]:
        yield LayerItem(
            Entry("big", Kind.FILE, 0, size=big.stat().st_size), lambda: big.open("rb", buffering=0)
        )

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (tmp_path / "layer").open("wb") as sink:
        layer = write_layer(one(), sink)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert os.path.getsize(tmp_path / "layer") == layer.size_bytes
