"""Contexts that come as archives, or as a part of something."""

import gzip
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from knarr.builder.sources.context_source import ContextSource
from knarr.errors import ContextError, CorruptError
from unit.layers.tar.raw_tar import archive, directory, file, hardlink, symlink
from unit.rootfs.unpacking.test_unpack_attacks import WAYS_OUT, WRITES

MEMBERS = directory(b"app") + file(b"app/Dockerfile", b"FROM scratch\n") + file(b"app/.wh.kept", b"k")
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def opened(source: ContextSource, place: Path, stdin: bytes = b"") -> Path:
    work = place / "work"
    work.mkdir()
    return source.open(work, io.BytesIO(stdin))


@pytest.mark.parametrize("compression", COMPRESSED)
def test_archive_in_a_file(compression: str, tmp_path: Path) -> None:
    (tmp_path / "context.tar").write_bytes(COMPRESSED[compression](archive(MEMBERS)))
    context = opened(ContextSource(tmp_path / "context.tar", is_archive=True), tmp_path)
    assert (context / "app/Dockerfile").read_text() == "FROM scratch\n"
    assert (context / "app/.wh.kept").read_text() == "k", "only a layer has whiteouts"


def test_archive_on_standard_input(tmp_path: Path) -> None:
    source = ContextSource(None, is_archive=True, sub_path="app")
    context = opened(source, tmp_path, gzip.compress(archive(MEMBERS)))
    assert sorted(each.name for each in context.iterdir()) == [".wh.kept", "Dockerfile"]


def test_directory_is_used_as_it_is(tmp_path: Path) -> None:
    assert opened(ContextSource(tmp_path), tmp_path) == tmp_path
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(("way", "write"), list(itertools.product(WAYS_OUT, WRITES)))
def test_nothing_outside_changes(way: str, write: str, tmp_path: Path) -> None:
    outside = tmp_path / "work" / "outside"
    (tmp_path / "work").mkdir()
    outside.mkdir()
    (outside / "canary").write_text("alive")
    (outside / "sub").mkdir(mode=0o755)
    members = archive(WAYS_OUT[way](str(outside).encode()) + WRITES[write])
    try:
        ContextSource(None, is_archive=True).open(tmp_path / "work", io.BytesIO(members))
    except CorruptError:
        pass
    assert (outside / "canary").read_text() == "alive"
    assert sorted(each.name for each in outside.iterdir()) == ["canary", "sub"]
    assert (outside / "sub").stat().st_mode & 0o777 == 0o755
    assert sorted(each.name for each in (tmp_path / "work").iterdir()) == ["outside", "unpacked-context"]


@pytest.mark.parametrize(
    "members",
    [
        file(b"../evil", b"x"),
        file(b"a/../../evil", b"x"),
        file(b"/../evil", b"x"),
        hardlink(b"l", b"../canary"),
    ],
)
def test_names_stay_inside(members: bytes, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("alive")
    work = tmp_path / "work"
    try:
        opened(ContextSource(None, is_archive=True), tmp_path, archive(members))
    except CorruptError:
        pass
    assert sorted(each.name for each in tmp_path.iterdir()) == ["canary", "work"]
    assert [each.name for each in work.iterdir()] == ["unpacked-context"]
    assert (tmp_path / "canary").stat().st_nlink == 1


@pytest.mark.parametrize(
    "data", [b"no archive at all", archive(MEMBERS)[:700], gzip.compress(archive(MEMBERS))[:-20]]
)
def test_no_archive(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptError):
        opened(ContextSource(None, is_archive=True), tmp_path, data)


@pytest.mark.parametrize("data", [b"", archive(b"")])
def test_empty_standard_input(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="standard input is empty"):
        opened(ContextSource(None, is_archive=True), tmp_path, data)


def test_archive_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="No such file"):
        opened(ContextSource(tmp_path / "gone.tar", is_archive=True), tmp_path)


def test_archive_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(ContextError):
        opened(ContextSource(tmp_path / "d", is_archive=True), tmp_path)


@pytest.mark.parametrize("sub_path", ["a/b", "/a/b", "a/./b/", "a/../a/b", "link", "up/b"])
def test_sub_path(sub_path: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "a/b").mkdir(parents=True)
    (base / "link").symlink_to("a/b")
    (base / "a/b/back").symlink_to("..")
    (base / "up").symlink_to("a/b/back")
    assert opened(ContextSource(base, sub_path=sub_path), tmp_path) == base / "a/b"


@pytest.mark.parametrize("sub_path", ["..", "a/../..", "out", "absolute", "a/far", "out/work"])
def test_sub_path_that_leads_out(sub_path: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "a").mkdir(parents=True)
    (base / "out").symlink_to("..")
    (base / "absolute").symlink_to("/")
    (base / "a/far").symlink_to("../out")
    with pytest.raises(ContextError, match="leads out of the build context"):
        opened(ContextSource(base, sub_path=sub_path), tmp_path)


@pytest.mark.parametrize("sub_path", ["gone", "file"])
def test_sub_path_that_is_no_directory(sub_path: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "file").write_text("")
    with pytest.raises(ContextError, match="is not a directory of the build context"):
        opened(ContextSource(base, sub_path=sub_path), tmp_path)


def test_sub_path_that_is_a_loop(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ContextError, match="can't be followed"):
        opened(ContextSource(tmp_path, sub_path="loop/x"), tmp_path)


def test_sub_path_through_a_link_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    members = archive(symlink(b"s", str(tmp_path / "secret").encode()))
    with pytest.raises(ContextError, match="leads out"):
        opened(ContextSource(None, is_archive=True, sub_path="s"), tmp_path, members)
