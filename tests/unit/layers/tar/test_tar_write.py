import io
import os
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.errors import CorruptError
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.tar.read import TarReader
from knarr.layers.tar.write import format_header, write_tar


def item(entry: Entry, content: bytes = b"") -> LayerItem:
    return LayerItem(replace(entry, size=len(content)), (lambda: io.BytesIO(content)) if content else None)


def written(*items: LayerItem) -> bytes:
    out = io.BytesIO()
    write_tar(items, out.write)
    return out.getvalue()


def read(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(data))
    return [(entry, b"".join(map(bytes, reader.chunks()))) for entry in reader]


ITEMS = [
    item(Entry("", Kind.DIRECTORY, 0o755)),
    item(Entry("d", Kind.DIRECTORY, 0o2775, 1, 2, 5 * 10**9)),
    item(Entry("d/f", Kind.FILE, 0o4755, 1000, 1000, 10**9), b"content"),
    item(Entry("d/empty", Kind.FILE, 0)),
    item(Entry("d/" + "n" * 98, Kind.FILE, 0o644), b"n100"),
    item(Entry("d/" + "n" * 99, Kind.FILE, 0o644), b"n101"),
    item(Entry("p" * 155 + "/" + "n" * 100, Kind.FILE, 0o644), b"full"),
    item(Entry("p" * 156 + "/" + "n" * 100, Kind.FILE, 0o644), b"over"),
    item(Entry("p" * 99, Kind.DIRECTORY, 0o755)),
    item(Entry("p" * 100, Kind.DIRECTORY, 0o755)),
    item(Entry("long/" * 100 + "x", Kind.FILE, 0o644), b"x" * 513),
    item(Entry("ü/日本", Kind.FILE, 0o644), b"y" * 512),
    item(Entry("bad\udcff", Kind.FILE, 0o644)),
    item(Entry("l", Kind.SYMLINK, 0o777, link_target="/abs/../" + "t" * 100)),
    item(Entry("l2", Kind.SYMLINK, 0o777, link_target="zié")),
    item(Entry("h", Kind.HARDLINK, 0o644, link_target="d/f")),
    item(Entry("c", Kind.CHAR, 0o666, device=(1, 3))),
    item(Entry("b", Kind.BLOCK, 0o660, device=(259, 70_000))),
    item(Entry("fifo", Kind.FIFO, 0o600)),
    item(Entry("ids", Kind.FILE, 0o644, 2_097_152, 4_294_967_294)),
    item(
        Entry(
            "xattrs",
            Kind.FILE,
            0o644,
            xattrs={"user.b": b"\n\0=", "security.capability": b"\1\0\0\2" + bytes(16)},
        )
    ),
    item(Entry("late", Kind.FILE, 0o644, mtime_ns=8 * 10**18), b"z"),
    item(Entry("d/.wh.gone", Kind.FILE, 0)),
    item(Entry("d/.wh..wh..opq", Kind.FILE, 0)),
]


def test_is_read_as_it_was_written() -> None:
    data = written(*ITEMS)
    expected = [(item.entry, item.open_content().read() if item.open_content else b"") for item in ITEMS]
    assert read(data) == expected


def test_needs_no_extended_header_where_ustar_has_room() -> None:
    assert b"PaxHeaders" not in written(*ITEMS[:5], ITEMS[6], ITEMS[8], *ITEMS[15:19])
    for index in (5, 7, 9, 10, 11, 12, 13, 14, 19, 20):
        assert written(ITEMS[index]).startswith(b"PaxHeaders.0/") == (index != 5), ITEMS[index].entry.path


def test_an_archive_of_nothing_is_two_blocks() -> None:
    assert written() == bytes(1024)


def test_python_reads_the_same() -> None:
    with tarfile.open(fileobj=io.BytesIO(written(*ITEMS)), errors="surrogateescape") as theirs:
        members = theirs.getmembers()
        assert len(members) == len(ITEMS)
        for member, expected in zip(members, ITEMS, strict=True):
            entry = expected.entry
            assert member.name.removeprefix(".") == entry.path
            assert (member.mode, member.uid, member.gid) == (entry.mode, entry.uid, entry.gid)
            assert (member.mtime, member.size) == (entry.mtime_ns // 10**9, entry.size)
            assert (member.uname, member.gname) == ("", "")
            assert member.linkname == entry.link_target
            if entry.kind in (Kind.CHAR, Kind.BLOCK):
                assert (member.devmajor, member.devminor) == entry.device
            if expected.open_content is not None:
                content = theirs.extractfile(member)
                assert content is not None
                assert content.read() == expected.open_content().read()


def test_gnu_tar_unpacks_the_same(tmp_path: Path) -> None:
    is_root = os.geteuid() == 0
    names_only = [item for item in ITEMS[1:20] if is_root or item.entry.kind not in (Kind.CHAR, Kind.BLOCK)]
    subprocess.run(["tar", "-xp", "--numeric-owner", "-C", tmp_path], input=written(*names_only), check=True)
    for expected in names_only:
        entry = expected.entry
        found = os.lstat(os.fsencode(tmp_path) + b"/" + entry.path.encode("utf-8", "surrogateescape"))
        if entry.kind in (Kind.HARDLINK, Kind.SYMLINK):
            continue
        assert found.st_mode & 0o7777 == entry.mode or not is_root
        assert (found.st_uid, found.st_gid) == (entry.uid, entry.gid) or not is_root
        assert found.st_size == entry.size or entry.kind is Kind.DIRECTORY
        assert found.st_mtime_ns == entry.mtime_ns or entry.path == "p" * 155
    assert (tmp_path / "h").samefile(tmp_path / "d/f")
    assert os.readlink(tmp_path / "l") == "/abs/../" + "t" * 100


def test_header_of_a_plain_file_to_the_byte() -> None:
    block = format_header(Entry("a/b", Kind.FILE, 0o4755, 1000, 100, 1_700_000_000_999_999_999, 12))
    expected = tarfile.TarInfo("a/b")
    expected.mode, expected.uid, expected.gid, expected.mtime, expected.size = (
        0o4755,
        1000,
        100,
        1_700_000_000,
        12,
    )
    theirs = expected.tobuf(tarfile.USTAR_FORMAT)
    # Python leaves the device's numbers out where there is no device; GNU tar writes zeros.
    assert block[:148] + block[156:329] + block[345:] == theirs[:148] + theirs[156:329] + theirs[345:]
    assert block[329:345] == b"0000000\0" * 2


def test_times_before_the_epoch_and_sizes_beyond_8_gib_get_a_record() -> None:
    assert b"mtime=-1\n" in format_header(Entry("x", Kind.FILE, 0o644, mtime_ns=-1))
    assert b"size=8589934592\n" in format_header(Entry("x", Kind.FILE, 0o644, size=2**33))
    assert b"size" not in format_header(Entry("x", Kind.FILE, 0o644, size=2**33 - 1))


def test_a_file_that_grew_is_cut_and_one_that_shrank_is_refused() -> None:
    entry = Entry("x", Kind.FILE, 0o644, size=5)
    grown = written(LayerItem(entry, lambda: io.BytesIO(b"1234567")), item(Entry("y", Kind.FILE, 0)))
    assert [(entry.path, content) for entry, content in read(grown)] == [("x", b"12345"), ("y", b"")]
    with pytest.raises(CorruptError, match="ended 2 bytes before"):
        written(LayerItem(entry, lambda: io.BytesIO(b"123")))
    with pytest.raises(CorruptError, match="no content"):
        written(LayerItem(entry))


def test_closes_what_it_opens() -> None:
    opened = []

    def open_content() -> io.BytesIO:
        opened.append(io.BytesIO(b"12"))
        return opened[-1]

    written(LayerItem(Entry("x", Kind.FILE, 0, size=2), open_content))
    with pytest.raises(CorruptError):
        written(LayerItem(Entry("x", Kind.FILE, 0, size=3), open_content))
    assert [content.closed for content in opened] == [True, True]


def test_an_attribute_that_no_record_can_name_is_refused() -> None:
    with pytest.raises(CorruptError, match="extended attribute"):
        format_header(Entry("x", Kind.FILE, 0, xattrs={"user.a=b": b""}))


def test_record_lengths_around_the_carry_are_right() -> None:
    for length in (*range(70, 110), *range(970, 1010), *range(9970, 10010)):
        entry = Entry("x", Kind.FILE, 0, xattrs={"user.a": b"v" * length})
        assert read(written(LayerItem(entry)))[0][0] == entry


MAX_ID, MAX_TIME_S, MAX_MAJOR, MAX_MINOR = 2**32 - 2, (2**63 - 1) // 10**9, 2**12 - 1, 2**20 - 1
MAX_SIZE = 2**63 - 1


def numbers(limit: int, *edges: int) -> st.SearchStrategy[int]:
    """Up to a limit, which comes often, as do the last number of a form and the next."""
    return st.integers(0, limit) | st.sampled_from([0, *edges, *(edge + 1 for edge in edges), limit])


def texts(max_bytes: int, *, without: bytes) -> st.SearchStrategy[str]:
    """What a name on disk can be: UTF-8 or not, none of these bytes."""
    utf8 = st.text(max_size=max_bytes // 4).map(lambda text: text.encode("utf-8", "ignore"))
    raw = (utf8 | st.binary(max_size=max_bytes)).map(lambda found: found.translate(None, without + b"\0"))
    return raw.filter(bool).map(lambda found: found.decode("utf-8", "surrogateescape"))


_NAMES = texts(240, without=b"/").filter(lambda name: name not in (".", "..") and not name.startswith(".wh."))
_PATHS = st.lists(_NAMES, min_size=1, max_size=8).map("/".join)
_LOOKS = {
    "path": _PATHS,
    "mode": numbers(0o7777),
    "uid": numbers(MAX_ID, 0o7777777),
    "gid": numbers(MAX_ID, 0o7777777),
    "mtime_ns": numbers(MAX_TIME_S, 0o77777777777).map(lambda seconds: seconds * 10**9),
    "xattrs": st.dictionaries(
        texts(20, without=b"=").map(lambda key: f"user.{key}"), st.binary(max_size=40), max_size=2
    ),
}
_DEVICES = st.tuples(numbers(MAX_MAJOR), numbers(MAX_MINOR))
_LINKS = texts(4095, without=b"")
_MORE: dict[Kind, dict[str, st.SearchStrategy[Any]]] = {
    Kind.FILE: {},
    Kind.DIRECTORY: {"path": _PATHS | st.just("")},
    Kind.SYMLINK: {"link_target": _LINKS},
    Kind.HARDLINK: {"link_target": _PATHS},
    Kind.CHAR: {"device": _DEVICES},
    Kind.BLOCK: {"device": _DEVICES},
    Kind.FIFO: {},
}
_ENTRIES = st.sampled_from(Kind).flatmap(
    lambda kind: st.builds(Entry, kind=st.just(kind), **{**_LOOKS, **_MORE[kind]})
)


def with_content(entry: Entry, content: bytes) -> LayerItem:
    return item(entry, content if entry.kind is Kind.FILE else b"")


@given(st.lists(st.tuples(_ENTRIES, st.binary(max_size=1500)), max_size=5))
@settings(max_examples=200, deadline=None, database=None)
def test_any_entry_is_read_as_it_was_written(drawn: list[tuple[Entry, bytes]]) -> None:
    items = [with_content(*each) for each in drawn]
    data = written(*items)
    assert read(data) == [
        (item.entry, item.open_content().read() if item.open_content else b"") for item in items
    ]
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as theirs:
        for member, expected in zip(theirs.getmembers(), items, strict=True):
            assert as_python_says(member) == replace(expected.entry, xattrs={})


def as_python_says(member: tarfile.TarInfo) -> Entry:
    kind = next(kind for kind, flag in FLAGS.items() if flag == member.type)
    return Entry(
        member.name if member.name != "." else "",
        kind,
        member.mode,
        member.uid,
        member.gid,
        int(member.mtime) * 10**9,
        member.size,
        member.linkname,
        (member.devmajor, member.devminor) if kind in (Kind.CHAR, Kind.BLOCK) else (0, 0),
        {},
    )


FLAGS = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.HARDLINK: tarfile.LNKTYPE,
    Kind.CHAR: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
}


@given(_ENTRIES, numbers(MAX_SIZE, 0o77777777777))
@settings(max_examples=100, deadline=None, database=None)
def test_any_size_is_read_as_it_was_written(entry: Entry, size: int) -> None:
    entry = replace(entry, kind=Kind.FILE, path=entry.path or "x", size=size, link_target="", device=(0, 0))
    assert next(TarReader(io.BytesIO(format_header(entry)))) == entry


@given(st.lists(_ENTRIES, min_size=1, max_size=20))
@settings(max_examples=20, deadline=None, database=None)
def test_gnu_tar_lists_the_same(drawn: list[Entry]) -> None:
    """Names are numbers here, since its quoting of others is not what this is about."""
    items = [
        item(replace(entry, path=str(number), link_target="x" if entry.link_target else "", xattrs={}))
        for number, entry in enumerate(drawn)
    ]
    command = ["tar", "--list", "--verbose", "--numeric-owner", "--utc", "--full-time", "--file=-"]
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(command, input=written(*items), capture_output=True, env=environment, check=True)
    assert result.stderr == b""
    for line, expected in zip(result.stdout.decode().splitlines(), items, strict=True):
        entry = expected.entry
        kind_and_mode, owner, size = line.split()[:3]
        major, minor = entry.device
        assert owner == f"{entry.uid}/{entry.gid}"
        assert size == (f"{major},{minor}" if entry.kind in (Kind.CHAR, Kind.BLOCK) else "0")
        letter, bits = "-dlhcbp"[list(FLAGS).index(entry.kind)], entry.mode
        assert kind_and_mode == letter + stat.filemode(stat.S_IFREG | bits)[1:]


@pytest.mark.parametrize(
    "change",
    [
        {"device": (MAX_MAJOR + 1, 0)},
        {"device": (0, MAX_MINOR + 1)},
        {"device": (2**31, 0)},
        {"device": (-1, 0)},
        {"mode": 0o10000},
        {"mode": -1},
        {"uid": MAX_ID + 1},
        {"gid": MAX_ID + 1},
        {"uid": -1},
        {"size": MAX_SIZE + 1},
        {"size": -1},
    ],
    ids=str,
)
def test_a_number_that_no_reader_takes_is_never_written(change: dict[str, Any]) -> None:
    with pytest.raises(CorruptError, match="x has a number out of range"):
        format_header(replace(Entry("x", Kind.CHAR, 0o644), **change))


def test_more_attributes_than_a_reader_takes_are_never_written() -> None:
    entry = Entry("x", Kind.FILE, 0o644, xattrs={f"user.{number}": bytes(65_000) for number in range(16)})
    assert read(written(LayerItem(entry)))[0][0] == entry
    entry = replace(entry, xattrs={**entry.xattrs, "user.16": bytes(65_000)})
    with pytest.raises(CorruptError, match="bytes of names and extended attributes"):
        format_header(entry)


@given(st.binary(max_size=1500))
@settings(max_examples=150, deadline=None, database=None)
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data)
    except CorruptError:
        pass


@given(st.integers(0, 511), st.integers(0, 255), st.sampled_from(range(len(ITEMS))))
@settings(max_examples=300, deadline=None, database=None)
def test_a_changed_byte_in_a_header_is_refused_or_changes_nothing(
    position: int, value: int, index: int
) -> None:
    data = bytearray(written(ITEMS[index]))
    before = read(bytes(data))
    data[position] = value
    try:
        assert read(bytes(data)) == before
    except CorruptError:
        pass
