"""Records of pax headers."""

import pytest

from knarr.errors import CorruptError
from knarr.layers.entry import Entry, Kind
from unit.layers.reading import entries, only
from unit.layers.tar.raw_tar import (
    archive,
    file,
    header,
    padded,
    pax,
    raw_pax,
)


def test_reads_pax_records() -> None:
    records = (
        (b"path", b"p" * 300),
        (b"uid", b"3000000"),
        (b"gid", b"4294967294"),
        (b"size", b"5"),
        (b"mtime", b"12.25"),
        (b"atime", b"1"),
        (b"comment", b"x=y\nz"),
        (b"SCHILY.xattr.user.a", b"\0\n=\xff"),
        (b"SCHILY.xattr.user.empty", b""),
    )
    entry = only(archive(pax(*records), header(b"x", size=0) + padded(b"12345")))
    assert entry == Entry(
        "p" * 300,
        Kind.FILE,
        0o644,
        3000000,
        4294967294,
        12_250_000_000,
        5,
        xattrs={"user.a": b"\0\n=\xff", "user.empty": b""},
    )


def test_an_empty_record_leaves_the_header_as_it_is() -> None:
    assert only(archive(pax((b"path", b""), (b"uid", b"")), header(b"x", uid=7))).uid == 7


def test_a_record_is_for_one_entry_only() -> None:
    first, second = entries(archive(pax((b"path", b"y"), (b"uid", b"7")), file(b"x"), file(b"z")))
    assert (first.path, first.uid, second.path, second.uid) == ("y", 7, "z", 0)


def test_reads_over_a_global_header_that_changes_no_file() -> None:
    data = archive(pax((b"comment", b"0123"), (b"mtime", b"99"), flag=b"g"), file(b"x"))
    assert only(data).mtime_ns == 0
    assert entries(archive(pax((b"comment", b"0123"), flag=b"g"))) == []
    assert entries(pax((b"comment", b"0123"), flag=b"g")) == []


@pytest.mark.parametrize("key", [b"path", b"linkpath", b"size", b"GNU.sparse.name"])
def test_refuses_a_global_header_that_readers_understand_differently(key: bytes) -> None:
    with pytest.raises(CorruptError, match="global PAX header"):
        entries(archive(pax((key, b"1"), flag=b"g"), file(b"x")))


@pytest.mark.parametrize(
    ("seconds", "mtime_ns"),
    [
        (b"-1", 0),
        (b"-0.5", 0),
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"1.", 1_000_000_000),
        (b"1.123456789999", 1_123_456_789),
        (b"9223372036.8", 9_223_372_036_800_000_000),
        (b"9223372037", 0),
        (b"9223372036854775807", 0),
    ],
)
def test_bounds_times_as_containerd_does(seconds: bytes, mtime_ns: int) -> None:
    assert only(archive(pax((b"mtime", seconds)), file(b"x"))).mtime_ns == mtime_ns


@pytest.mark.parametrize(
    "record",
    [
        b"0 a=b\n",
        b"6 a=b",
        b"7 a=b\n",
        b"5 a=b\n",
        b"x a=b\n",
        b"6 ab1\n",
        b"5 =b\n",
        b"-6 a=b\n",
        b"+6 a=b\n",
        b" 6 a=b\n",
        b"6\ta=b\n",
        b"99999999999 a=b\n",
        b"4294967296 a=b\n",
        b"6 a=bX6 a=b\n",
        b"6 \0=b\n",
        b"6 a=b\n\0",
        b"10 size=-1\n",
        b"10 size= 1\n",
        b"12 size=0x1\n",
        b"12 size=1_0\n",
        b"28 size=9223372036854775808\n",
        b"8 uid=\n8 uid=a\n",
        b"9 uid=-1\n",
        b"18 uid=4294967295\n",
        b"18 gid=4294967296\n",
        b"11 mtime=x\n",
        b"13 mtime=1e9\n",
        b"13 mtime=nan\n",
        b"13 path=a\0b\n",
        b"17 linkpath=a\0b\n",
        b"16 SCHILY.xattr.=x\n"[:-1] + b"\n",
    ],
)
def test_refuses_damaged_pax_records(record: bytes) -> None:
    with pytest.raises(CorruptError):
        entries(archive(raw_pax(record), file(b"x")))
