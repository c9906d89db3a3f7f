import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from knarr.errors import ContextError, CorruptError
from knarr.layers.entry import Kind, LayerItem
from knarr.layers.spool import Spool
from knarr.rootfs.copying.copy import CopyRequest, InlineFile, plan_copy
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.layer_draft import Owner
from support.trees import layer_tree, show_items, write_tree

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda data: data,
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "bzip2": bz2.compress,
    "bzip2 streams": lambda data: bz2.compress(data[:700]) + bz2.compress(data[700:]),
    "xz": lzma.compress,
    "xz streams": lambda data: lzma.compress(data[:700]) + bytes(8) + lzma.compress(data[700:]),
    "zstd": zstandard.ZstdCompressor().compress,
}


def tar_of(*members: tuple[str, bytes, str], uid: int = 0, mode: int = 0o644) -> bytes:
    """An archive of (name, type, content or target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.uid, info.gid, info.mtime = kind, uid, uid, 1_600_000_000
            info.mode = 0o755 if kind == tarfile.DIRTYPE else mode
            if kind == tarfile.REGTYPE:
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                archive.addfile(info)
    return out.getvalue()


def no_layer(source: Hashable) -> io.BytesIO:
    raise AssertionError(source)


def add(
    data: bytes, dest: list[str], tmp_path: Path, *, to: str = "/o/", owner: Owner | None = None
) -> list[LayerItem]:
    request = CopyRequest(
        dest=to, files=(replace(InlineFile.document("a.tar", data), unpack=True),), unpack=True, chown=owner
    )
    empty = layer_tree([], tmp_path)
    return plan_copy(request, empty, layer_tree(dest, tmp_path), spool=Spool(tmp_path / "spool", no_layer))


FILE, DIR, SYM, HARD, FIFO = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
)


@pytest.mark.parametrize("packing", PACKED)
def test_kinds_of_archives(packing: str, tmp_path: Path) -> None:
    data = PACKED[packing](tar_of(("./", DIR, ""), ("./d/x", FILE, "hello" * 1000), ("y", FILE, ""), uid=7))
    shown = show_items(add(data, [], tmp_path))
    assert shown == ["d o", "d o/d", "f o/d/x 0644 7:7 =" + "hello" * 1000, "f o/y 0644 7:7 ="]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain text",
        b"\0" * 2048,
        b"x" * 2048,
        gzip.compress(b"no tar"),
        gzip.compress(b"x" * 5000),
        bz2.compress(b"x" * 5000),
        lzma.compress(b"x" * 5000),
        b"\x1f\x8bno gzip after all",
        b"BZhello",
        b"\xfd7zXZ\0junk",
        b"\x28\xb5\x2f\xfdjunk",
    ],
)
def test_what_is_no_archive_is_copied(data: bytes, tmp_path: Path) -> None:
    items = add(data, [], tmp_path)
    assert [item.entry.path for item in items] == ["o", "o/a.tar"]
    if data:
        opener = items[1].open_content
        assert opener is not None
        with opener() as stream:
            assert stream.read() == data


@pytest.mark.parametrize(
    ("members", "dest", "layer"),
    [
        ([("x", FILE, "1")], ["d o 0700 5:6"], ["d o 0700 5:6", "f o/x =1"]),
        ([("d/", DIR, "")], ["d o/d 0700 5:6", "f o/d/y =1"], ["d o", "d o/d"]),
        ([("d", FILE, "1")], ["d o/d", "f o/d/y =1"], ["d o", "f o/d =1"]),
        ([("d/x", FILE, "1")], ["d o/d 0700 5:6"], ["d o", "d o/d 0700 5:6", "f o/d/x =1"]),
        ([("s/x", FILE, "1")], ["d o/r", "l o/s -> r"], ["d o", "d o/r", "f o/r/x =1"]),
        ([("s/x", FILE, "1")], ["d o/r", "l o/s -> /r"], ["d o", "d o/r", "f o/r/x =1"]),
        ([("s/x", FILE, "1")], ["d etc", "l o/s -> ../../etc"], ["d o", "d o/etc", "f o/etc/x =1"]),
        ([("s", FILE, "1")], ["d o", "l o/s -> /etc/passwd"], ["d o", "f o/s =1"]),
        ([("s/", DIR, "")], ["d o/r 0700", "l o/s -> r"], ["d o", "d o/r"]),
        ([("s", SYM, "/etc"), ("s/x", FILE, "1")], [], ["d o", "d o/etc", "f o/etc/x =1", "l o/s -> /etc"]),
        ([("a", FILE, "1"), ("b", HARD, "a")], [], ["d o", "f o/a =1", "h o/b -> o/a"]),
        ([("b", FILE, "1"), ("a", HARD, "b")], [], ["d o", "f o/a =1", "h o/b -> o/a"]),
        ([("b", HARD, "a")], ["f o/a =1"], ["d o", "f o/a =1", "h o/b -> o/a"]),
        ([("a", FILE, "1"), ("a", HARD, "a")], [], ["d o", "f o/a =1"]),
        ([("p", FIFO, "")], [], ["d o", "p o/p"]),
        ([("a", FILE, "1"), ("a", FILE, "2")], [], ["d o", "f o/a =2"]),
        ([("d", FILE, "1"), ("d/", DIR, "")], ["f o/d/y =1"], ["d o", "d o/d", "f o/d/.wh..wh..opq ="]),
        (
            [("d", SYM, "q"), ("d", FILE, "1"), ("d/", DIR, ""), ("d/z", FILE, "3")],
            ["f o/d/y =1"],
            ["d o", "d o/d", "f o/d/.wh..wh..opq =", "f o/d/z =3"],
        ),
    ],
)
def test_entries(
    members: list[tuple[str, bytes, str]], dest: list[str], layer: list[str], tmp_path: Path
) -> None:
    assert show_items(add(tar_of(*members), dest, tmp_path)) == layer


def test_owner_is_of_all_entries(tmp_path: Path) -> None:
    data = tar_of(("d/", DIR, ""), ("d/x", FILE, "1"), ("l", SYM, "d"), uid=99)
    shown = show_items(add(data, [], tmp_path, owner=Owner(3, 4)))
    assert shown == ["d o 0755 3:4", "d o/d 0755 3:4", "f o/d/x 0644 3:4 =1", "l o/l 3:4 -> d"]


def test_into_the_root_through_a_link(tmp_path: Path) -> None:
    data = tar_of(("x", FILE, "1"))
    assert show_items(add(data, ["d real", "l s -> /real"], tmp_path, to="/s")) == ["d real", "f real/x =1"]
    assert show_items(add(data, [], tmp_path, to="/")) == ["f x =1"]


@pytest.mark.parametrize(
    "members",
    [
        [("../x", FILE, "1")],
        [("a/../../x", FILE, "1")],
        [("b", HARD, "gone")],
        [("d/", DIR, ""), ("b", HARD, "d")],
    ],
)
def test_archives_that_are_not_believed(members: list[tuple[str, bytes, str]], tmp_path: Path) -> None:
    with pytest.raises(CorruptError):
        show_items(add(tar_of(*members), [], tmp_path))


def test_a_name_that_means_a_deletion(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="means a deletion"):
        add(tar_of((".wh.x", FILE, "")), [], tmp_path)


def test_a_file_below_a_file(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="no directory"):
        add(tar_of(("f/x", FILE, "1")), ["f o/f =1"], tmp_path)


def lzma_fast(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


@pytest.mark.parametrize("packing", ["gzip", "bzip2", "xz", "zstd"])
def test_a_damaged_archive(packing: str, tmp_path: Path) -> None:
    pack = lzma_fast if packing == "xz" else PACKED[packing]
    data = pack(tar_of(*((f"f{n}", FILE, os.urandom(100_000).hex()) for n in range(15))))
    with pytest.raises(CorruptError):
        add(data[: len(data) // 2], [], tmp_path)


def test_archives_in_the_context(tmp_path: Path) -> None:
    place = write_tree(tmp_path / "context", ["f d/t/x =1", "l l -> a.tar"])
    (place / "a.tar").write_bytes(tar_of(("x", FILE, "1" * 5000)))
    (place / "a.tgz").write_bytes(gzip.compress(tar_of(("y", FILE, "2"))))
    (place / "d/t/in.tar").write_bytes(tar_of(("no", FILE, "3")))
    fd = os.open(place, os.O_PATH)
    try:
        spool = Spool(tmp_path / "spool", no_layer)
        request = CopyRequest(dest="/o/", sources=("*.t*", "l", "d/t"), unpack=True)
        items = plan_copy(request, DirTree(fd), layer_tree([], tmp_path), spool=spool)
        assert [item.entry.path for item in items] == ["o", "o/in.tar", "o/x", "o/y"]
        assert show_items(items)[2:] == ["f o/x =1", "f o/y =2"]
        copied = plan_copy(request, DirTree(fd), layer_tree([], tmp_path))
        assert [item.entry.path for item in copied] == ["o", "o/a.tar", "o/a.tgz", "o/in.tar", "o/l", "o/x"]
    finally:
        os.close(fd)


def test_sparse_files_of_gnu_tar(tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    with (place / "s").open("wb") as stream:
        stream.seek(200_000)
        stream.write(b"end")
        stream.truncate(300_000)
    for style in ("gnu", "posix"):
        data = subprocess.run(
            ["tar", "-C", place, "--sparse", f"--format={style}", "-cf-", "s"],
            check=True,
            capture_output=True,
        ).stdout
        assert len(data) < 100_000
        opener = add(data, [], tmp_path)[1].open_content
        assert opener is not None
        with opener() as content:
            assert content.read() == (place / "s").read_bytes()


def test_a_file_may_have_any_number_of_names(tmp_path: Path) -> None:
    """Each costs the same: with a look at all the others, so many would take an hour."""
    names = [f"h{number:05}" for number in range(30_000)]
    items = add(tar_of(("f", FILE, "1"), *((name, HARD, "f") for name in names)), [], tmp_path)
    assert {item.entry.link_target for item in items if item.entry.kind is Kind.HARDLINK} == {"o/f"}
    assert len(items) == len(names) + 2


FIRST = tar_of(("x", FILE, "1"))
OTHER = tar_of(("y", FILE, "2"))
OPEN = FIRST[:1024]
"""The same without its end."""
JUNK = b"garbage behind the end " * 40
zst = zstandard.ZstdCompressor().compress
SKIPPED = b"\x50\x2a\x4d\x18\4\0\0\0abcd"
X, XY = ["d o", "f o/x =1"], ["d o", "f o/x =1", "f o/y =2"]


@pytest.mark.parametrize(
    ("data", "layer"),
    [
        (FIRST + JUNK, X),
        (FIRST + OTHER, X),
        (OPEN, X),
        (OPEN + bytes(512), X),
        (OPEN + OTHER, XY),
        (gzip.compress(FIRST) + JUNK, X),
        (gzip.compress(FIRST) + b"x", X),
        (gzip.compress(FIRST) + bytes(512), X),
        (gzip.compress(FIRST + JUNK), X),
        (gzip.compress(FIRST + OTHER), X),
        (gzip.compress(FIRST) + gzip.compress(OTHER), X),
        (gzip.compress(FIRST) + gzip.compress(OTHER)[:20], X),
        (gzip.compress(FIRST)[:-8], X),
        (gzip.compress(OPEN) + gzip.compress(OTHER), XY),
        (zst(FIRST[:700]) + zst(FIRST[700:]), X),
        (zst(FIRST) + JUNK, X),
        (zst(FIRST) + bytes(512), X),
        (zst(FIRST) + zst(OTHER), X),
        (zst(FIRST) + SKIPPED, X),
        (lzma.compress(FIRST) + JUNK, X),
        (lzma.compress(FIRST) + bytes(3), X),
        (lzma.compress(FIRST) + lzma.compress(OTHER), X),
        (bz2.compress(FIRST) + JUNK, X),
        (bz2.compress(FIRST) + bytes(512), X),
        (bz2.compress(FIRST) + bz2.compress(OTHER), X),
        (OPEN + JUNK[:100], None),
        (OPEN + bytes(100), None),
        (OPEN + bytes(512) + OTHER, None),
        (OPEN + bytes(512) + bytes(100), None),
        (gzip.compress(OPEN) + JUNK, None),
        (zst(OPEN) + JUNK, None),
        (lzma.compress(OPEN) + JUNK, None),
        (bz2.compress(OPEN) + JUNK, None),
    ],
)
def test_what_is_behind_the_end(data: bytes, layer: list[str] | None, tmp_path: Path) -> None:
    """What a current BuildKit made of each of these with ADD; None where it failed."""
    if layer is None:
        with pytest.raises(CorruptError):
            add(data, [], tmp_path)
    else:
        assert show_items(add(data, [], tmp_path)) == layer
