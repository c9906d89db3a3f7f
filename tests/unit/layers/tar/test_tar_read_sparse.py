"""Sparse files, in each of GNU tar's forms."""

import io
import subprocess
from pathlib import Path

import pytest

from knarr.errors import CorruptError
from knarr.layers.tar.read import TarReader
from unit.layers.reading import entries
from unit.layers.tar.raw_tar import (
    GNU,
    archive,
    base256,
    file,
    header,
    padded,
    pax,
    with_checksum,
)


def expanded(data: bytes) -> list[tuple[str, bytes]]:
    reader = TarReader(io.BytesIO(data))
    found = []
    for entry in reader:
        content = bytearray(entry.size)
        for offset, length in reader.sparse_map or ((0, entry.size),):
            content[offset : offset + length] = reader.read(length)
        found.append((entry.path, bytes(content)))
    return found


@pytest.mark.parametrize(
    "options", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
@pytest.mark.parametrize("parts", [1, 3, 100])
def test_reads_sparse_files_of_gnu_tar(tmp_path: Path, options: list[str], parts: int) -> None:
    with (tmp_path / "sparse").open("wb") as sparse:
        for part in range(parts):
            sparse.seek(part * 100_000 + 50_000)
            sparse.write(b"%05d" % part * 100)
        sparse.truncate(parts * 100_000 + 123_456)
    (tmp_path / "next").write_bytes(b"next")
    subprocess.run(["tar", "-cSf", "a.tar", *options, "sparse", "next"], cwd=tmp_path, check=True)
    data = (tmp_path / "a.tar").read_bytes()
    assert len(data) < parts * 20_000 + 20_480
    assert expanded(data) == [("sparse", (tmp_path / "sparse").read_bytes()), ("next", b"next")]


@pytest.mark.parametrize(
    "fields",
    [
        b"%011o %011o " % (0, 9),
        b"%011o %011o " % (100, 5),
        b"%011o %011o %011o %011o " % (5, 3, 4, 2),
        b"%011o %011o " % (2**32, 5),
        base256(-1, 12) + b"%011o " % 5,
        b"%011o " % 0 + base256(-5, 12),
    ],
)
def test_refuses_maps_that_do_not_fit(fields: bytes) -> None:
    block = header(b"x", flag=b"S", size=5, magic=GNU)
    block = with_checksum(block[:386] + fields.ljust(97, b"\0") + b"%011o\0" % 100 + block[495:])
    with pytest.raises(CorruptError):
        entries(archive(block, padded(b"12345")))


@pytest.mark.parametrize(
    "records",
    [
        ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"10")),
        ((b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"10")),
        ((b"GNU.sparse.map", b"0,5,7"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.map", b"0,x"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.map", b"0,5"), (b"GNU.sparse.size", b"-10")),
        ((b"GNU.sparse.map", b"0,5"),),
        ((b"GNU.sparse.offset", b"0"), (b"GNU.sparse.offset", b"5"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.offset", b"0"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.map", b"0,5"), (b"GNU.sparse.size", b"1099511627776")),
    ],
)
def test_refuses_damaged_sparse_records(records: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(CorruptError):
        entries(archive(pax(*records), file(b"x", b"12345")))
