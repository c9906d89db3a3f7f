import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from knarr.errors import CorruptError
from knarr.layers.entry import Entry, Kind
from knarr.layers.tar.read import TarLimits, TarReader, read_members
from unit.layers.reading import contents, entries, only
from unit.layers.tar.raw_tar import (
    BLOCK,
    GNU,
    archive,
    base256,
    directory,
    file,
    hardlink,
    header,
    long_name,
    padded,
    pax,
    symlink,
    with_checksum,
)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"a", "a"),
        (b"./a", "a"),
        (b"/a", "a"),
        (b"//a//b/./c/", "a/b/c"),
        (b"././a", "a"),
        (b"a/b", "a/b"),
        (b"a/...", "a/..."),
        (b"..a/b..", "..a/b.."),
        (b"a./b.", "a./b."),
        (b"...", "..."),
        (b" ", " "),
        (b"a\nb", "a\nb"),
        (b"\xff\xfe", "\udcff\udcfe"),
        ("ü/日本".encode(), "ü/日本"),
    ],
)
def test_normalises_names(raw: bytes, path: str) -> None:
    assert only(archive(file(raw))).path == path
    assert only(archive(hardlink(b"h", raw))).link_target == path
    assert only(archive(pax((b"path", raw)), file(b"x"))).path == path
    assert only(archive(long_name(raw), file(b"x"))).path == path


@pytest.mark.parametrize(
    "raw", [b"..", b"../a", b"a/..", b"a/../b", b"/..", b"./..", b"a/../../b", b"/../a", b"a/./..", b"a//.."]
)
@pytest.mark.parametrize("flag", [b"0", b"5", b"2", b"6", b"1"])
def test_refuses_dot_dot_wherever_it_stands(raw: bytes, flag: bytes) -> None:
    with pytest.raises(CorruptError, match=r'with "\.\." in it'):
        entries(archive(header(raw, flag=flag, link=b"x")))
    with pytest.raises(CorruptError, match=r'with "\.\." in it'):
        entries(archive(header(b"x", flag=b"1", link=raw)))


@pytest.mark.parametrize("raw", [b".", b"./", b"/", b"//", b"/.", b"./."])
def test_the_root_is_a_directory(raw: bytes) -> None:
    assert only(archive(directory(raw))) == Entry("", Kind.DIRECTORY, 0o755)
    for flag in (b"0", b"1", b"2", b"3", b"6", b"7"):
        with pytest.raises(CorruptError, match="root directory"):
            entries(archive(header(raw, flag=flag, link=b"x")))
    with pytest.raises(CorruptError, match="root directory"):
        entries(archive(header(b"x", flag=b"1", link=raw)))


def test_reads_every_kind() -> None:
    data = archive(
        directory(b"d/", 0o1777),
        header(b"f", mode=0o4755, uid=1, gid=2, mtime=1234, size=3) + padded(b"abc"),
        header(b"old", flag=b"\0"),
        header(b"old directory/", flag=b"\0"),
        header(b"contiguous", flag=b"7"),
        header(b"l", flag=b"2", mode=0o777, link=b"../f"),
        header(b"h", flag=b"1", link=b"./f"),
        header(b"c", flag=b"3", device=(1, 3)),
        header(b"b", flag=b"4", device=(7, 200)),
        header(b"p", flag=b"6"),
    )
    assert entries(data) == [
        Entry("d", Kind.DIRECTORY, 0o1777),
        Entry("f", Kind.FILE, 0o4755, 1, 2, 1234 * 10**9, 3),
        Entry("old", Kind.FILE, 0o644),
        Entry("old directory", Kind.DIRECTORY, 0o644),
        Entry("contiguous", Kind.FILE, 0o644),
        Entry("l", Kind.SYMLINK, 0o777, link_target="../f"),
        Entry("h", Kind.HARDLINK, 0o644, link_target="f"),
        Entry("c", Kind.CHAR, 0o644, device=(1, 3)),
        Entry("b", Kind.BLOCK, 0o644, device=(7, 200)),
        Entry("p", Kind.FIFO, 0o644),
    ]
    assert contents(data)[1] == ("f", b"abc")


@pytest.mark.parametrize("device", [(4096, 0), (0, 2**20), (2**31, 0), (2**32, 1), (-1, 0), (4097, 1)])
def test_a_device_that_no_kernel_has_is_refused(device: tuple[int, int]) -> None:
    block = header(b"c", flag=b"3", device=(0, 0))
    numbers = b"".join(base256(number, 8) for number in device)
    with pytest.raises(CorruptError, match=f"out of range: {device[0]}:{device[1]}"):
        entries(archive(with_checksum(block[:329] + numbers + block[345:])))


def test_a_long_name_decides_whether_an_old_file_is_a_directory() -> None:
    assert only(archive(long_name(b"a" * 200 + b"/"), header(b"a" * 100, flag=b"\0"))).kind is Kind.DIRECTORY
    assert only(archive(long_name(b"a" * 200), header(b"a" * 99 + b"/", flag=b"\0"))).kind is Kind.FILE


def test_ignores_the_size_of_what_has_no_content() -> None:
    data = archive(header(b"d", flag=b"5", size=4096), header(b"l", flag=b"2", link=b"x", size=9), file(b"f"))
    assert [entry.path for entry in entries(data)] == ["d", "l", "f"]


def test_reads_prefixes_of_ustar_and_star() -> None:
    assert only(archive(header(b"b", prefix=b"a/very/long"))).path == "a/very/long/b"
    assert only(archive(header(b"b", prefix=b"not one", magic=GNU))).path == "b"
    assert only(archive(header(b"b", prefix=b"not one", magic=bytes(8)))).path == "b"
    star = header(b"b", prefix=b"dir" + bytes(128) + b"00000000000 00000000000 ")
    assert only(archive(with_checksum(star[:508] + b"tar\0"))).path == "dir/b"


def test_a_negative_time_in_a_header_is_the_epoch() -> None:
    assert only(archive(header(b"x", mtime=base256(-5, 12)))).mtime_ns == 0


@pytest.mark.parametrize(
    "prefix",
    [
        pax((b"path", b"a")) + pax((b"path", b"b")),
        long_name(b"a") + long_name(b"b"),
        pax((b"path", b"a")) + long_name(b"b"),
        long_name(b"a") + pax((b"path", b"b")),
        pax((b"path", b"a"), (b"path", b"b")),
        pax((b"linkpath", b"a")) + long_name(b"b", b"K"),
        header(b"L", flag=b"L", size=4) + padded(b"a\0b\0"),
        header(b"L", flag=b"L", size=1) + padded(b"\0"),
        long_name(b""),
    ],
)
def test_refuses_two_names_for_one_entry(prefix: bytes) -> None:
    with pytest.raises(CorruptError):
        entries(archive(prefix, file(b"x")))


@pytest.mark.parametrize(
    "bad",
    [
        header(b"x", checksum=b"000000\0 "),
        header(b"x", checksum=b"        "),
        header(b"x", checksum=b"zzzzzz\0 "),
        header(b"x", checksum=base256(-1, 8)),
        header(b"x", size=b"0000000000x"),
        header(b"x", size=b"00000000009"),
        header(b"x", size=b"-0000000001"),
        header(b"x", size=b"0o000000001"),
        header(b"x", size=b"0_000000001"),
        header(b"x", size=base256(-1, 12)),
        header(b"x", size=b"\x80" + b"\xff" * 11),
        header(b"x", size=b"\xbf" + b"\xff" * 11),
        header(b"x", uid=base256(-1, 8)),
        header(b"x", uid=base256(0xFFFFFFFF, 8)),
        header(b"x", gid=base256(2**32, 8)),
        header(b"x", mode=base256(-1, 8)),
        header(b"x", mode=b"+000644"),
        header(b"x", flag=b"3", device=(0, 0), magic=GNU, prefix=b"")[:329] + bytes(183),
        header(b""),
        header(b"x", flag=b"2"),
        header(b"x", flag=b"1"),
        header(b"x", flag=b"V"),
        header(b"x", flag=b"M"),
        header(b"x", flag=b"D"),
        header(b"x", flag=b"N"),
        header(b"x", flag=b"X"),
        header(b"x", flag=b"9"),
        header(b"x", flag=b"\xff"),
        b"x" * BLOCK,
    ],
)
def test_refuses_damaged_headers(bad: bytes) -> None:
    with pytest.raises(CorruptError):
        entries(archive(bad))


def test_takes_numbers_as_other_tools_write_them() -> None:
    assert only(archive(header(b"x", mode=b"   755 \0", uid=b"      7 ", gid=b"7\0junk"))).mode == 0o755
    assert only(archive(header(b"x", mode=b"0000644 ", uid=b""))).uid == 0
    assert only(archive(header(b"x", uid=base256(3_000_000, 8)))).uid == 3_000_000
    assert only(archive(header(b"x", mode=0o100644))).mode == 0o644


def test_takes_a_checksum_of_signed_characters() -> None:
    name = "ü".encode()
    block = header(name)
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    assert only(archive(header(name, checksum=b"%06o\0 " % signed))).path == "ü"


def test_takes_an_archive_without_end_but_not_a_cut_one() -> None:
    whole = file(b"a", b"12345") + file(b"b")
    assert len(entries(whole)) == len(entries(whole + bytes(512))) == len(entries(whole + bytes(20_480))) == 2
    assert entries(b"") == entries(bytes(512)) == entries(bytes(1024)) == []
    for length in (1, 511, 513, 517, 1023, 1025):
        with pytest.raises(CorruptError, match="cut off"):
            entries(whole[:length])
    with pytest.raises(CorruptError, match="cut off"):
        contents(whole[:514])
    for prefix in (pax((b"path", b"a")), long_name(b"a")):
        with pytest.raises(CorruptError):
            entries(prefix)
        with pytest.raises(CorruptError, match="after an extended header"):
            entries(archive(prefix))


@pytest.mark.parametrize(
    "tail", [b"x", bytes(700) + b"x", bytes(2_000_000) + b"x", file(b"hidden", b"x"), archive(file(b"b"))]
)
def test_what_is_behind_the_end_is_nothing(tail: bytes) -> None:
    """Go's archive/tar, and so containerd, BuildKit and kaniko; GNU tar, too."""
    reader = TarReader(io.BytesIO(archive(file(b"a")) + tail))
    assert [entry.path for entry in reader] == ["a"]
    assert list(reader) == []


def test_one_block_of_zeros_is_no_end() -> None:
    with pytest.raises(CorruptError, match="goes on after a block of zeros"):
        entries(file(b"a") + bytes(512) + file(b"b"))
    for tail in (bytes(100), b"j" * 100):
        with pytest.raises(CorruptError, match="cut off"):
            entries(file(b"a") + tail)
        with pytest.raises(CorruptError, match="cut off"):
            entries(file(b"a") + bytes(512) + tail)


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"a/.wh.", b"a/.wh..", b"a/.wh...", b".wh./"])
def test_refuses_whiteouts_of_nothing(name: bytes) -> None:
    with pytest.raises(CorruptError, match="whiteout"):
        entries(archive(file(name)))


@pytest.mark.parametrize("name", [b".wh.a/b", b"a/.wh.b/c/d", b"a/.wh..wh..opq/x"])
def test_refuses_what_is_inside_of_a_whiteout(name: bytes) -> None:
    with pytest.raises(CorruptError, match="whiteout"):
        entries(archive(file(name)))


@pytest.mark.parametrize("flag", [b"0", b"1", b"2", b"3", b"5", b"6"])
def test_a_whiteout_is_a_file_whatever_its_type(flag: bytes) -> None:
    entry = only(archive(header(b"a/.wh.b", flag=flag, link=b"x", mode=0)))
    assert entry == Entry("a/.wh.b", Kind.FILE, 0)
    assert only(archive(header(b"a/.wh..wh..opq", flag=flag, link=b"x", mode=0))).path == "a/.wh..wh..opq"


def test_leaves_out_what_aufs_kept_in_the_root() -> None:
    data = archive(
        directory(b".wh..wh.plnk"), file(b".wh..wh.plnk/1.2", b"x"), file(b".wh..wh.aufs"), file(b"a")
    )
    assert [entry.path for entry in entries(data)] == ["a"]


def test_without_whiteouts_their_names_mean_nothing() -> None:
    data = archive(directory(b".wh..wh.plnk"), directory(b".wh."), file(b".wh.x/y"))
    assert [entry.path for entry in entries(data, whiteouts=False)] == [".wh..wh.plnk", ".wh.", ".wh.x/y"]


def test_limits() -> None:
    many = archive(*(file(b"f%d" % number) for number in range(11)))
    with pytest.raises(CorruptError, match="more than 10 entries"):
        list(TarReader(io.BytesIO(many), limits=TarLimits(entries=10)))
    for size in (1024 * 1024 + 1, 2**40, base256(2**60, 12), base256(-1, 12)):
        for flag in (b"x", b"g", b"L", b"K"):
            with pytest.raises(CorruptError, match="extended header of"):
                entries(
                    header(b"x", flag=flag, size=size)
                    if isinstance(size, bytes) or size < 2**33
                    else header(b"x", flag=flag, size=base256(size, 12))
                )
    globals_without_end = pax((b"comment", b"x"), flag=b"g") * 20
    with pytest.raises(CorruptError, match="more than 10 entries"):
        list(TarReader(io.BytesIO(globals_without_end), limits=TarLimits(entries=10)))


def test_a_path_beyond_what_a_kernel_takes_is_refused() -> None:
    assert len(only(archive(pax((b"path", b"a/" * 2047 + b"b")), file(b"x"))).path) == 4095
    for name in (b"a/" * 2048, b"a/" * 500_000):
        with pytest.raises(CorruptError, match="a name of"):
            entries(archive(pax((b"path", name)), file(b"x")))
    with pytest.raises(CorruptError, match="symbolic link"):
        entries(archive(symlink(b"l", b"a" * 4096)))


def test_gives_content_in_the_middle_of_iteration_or_skips_it() -> None:
    big = bytes(range(256)) * 12_000
    data = archive(file(b"a", big), file(b"b", b"second"), file(b"c", b"third"))
    reader = TarReader(io.BytesIO(data))
    next(reader)
    assert reader.read(10) == big[:10]
    assert next(reader).path == "b"
    assert (reader.read(3), reader.read(10), reader.read(10)) == (b"sec", b"ond", b"")
    next(reader)
    with pytest.raises(StopIteration):
        next(reader)
    assert contents(data)[0] == ("a", big)


def test_says_where_content_is() -> None:
    data = archive(pax((b"uid", b"1")), file(b"a", b"first"), directory(b"d"), file(b"b", b"x" * 5000))
    places = {
        member.entry.path: (member.data_offset, member.entry.size)
        for member in read_members(io.BytesIO(data))
    }
    for path, content in (("a", b"first"), ("b", b"x" * 5000)):
        offset, size = places[path]
        assert data[offset : offset + size] == content


def test_agrees_with_pythons_reader_about_archives_of_gnu_tar(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    deep = tree / ("d" * 90) / ("e" * 90) / ("f" * 90)
    deep.mkdir(parents=True)
    (deep / ("g" * 200)).write_bytes(b"deep")
    (tree / "ü").write_bytes(b"x" * 1000)
    (tree / "link").symlink_to("l" * 150)
    (tree / "hard").hardlink_to(tree / "ü")
    for form in ("v7", "ustar", "gnu", "oldgnu", "pax"):
        subprocess.run(
            ["tar", f"--format={form}", "-cf", tmp_path / "a.tar", "-C", tree, "."],
            check=form not in ("v7", "ustar"),
            capture_output=True,
        )
        with tarfile.open(tmp_path / "a.tar") as theirs:
            expected = {
                (member.name.removeprefix("./").removeprefix("."), member.size, member.mode, member.uid)
                for member in theirs
            }
        found = entries((tmp_path / "a.tar").read_bytes())
        assert {(entry.path, entry.size, entry.mode, entry.uid) for entry in found} == expected
