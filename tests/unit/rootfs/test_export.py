"""Files of a tree in a directory of the machine: what is there, what is replaced, what a failure leaves."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.rootfs.export import write_items


def _file(path: str, text: bytes = b"new", mode: int = 0o640) -> LayerItem:
    entry = Entry(path=path, kind=Kind.FILE, mode=mode, size=len(text), mtime_ns=10**9)
    return LayerItem(entry, lambda: io.BytesIO(text))


def _directory(path: str, mode: int = 0o750) -> LayerItem:
    return LayerItem(Entry(path=path, kind=Kind.DIRECTORY, mode=mode, mtime_ns=2 * 10**9))


def test_into_a_directory_that_has_other_things(tmp_path: Path) -> None:
    """As fsutil's disk writer: two directories are one, anything else gives way."""
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    (target / "both").mkdir(parents=True)
    (target / "both/mine").write_text("mine")
    (target / "was-directory/below").mkdir(parents=True)
    (target / "was-file").write_text("old")
    (target / "was-link").symlink_to(outside)
    items = [_directory("both"), _file("both/new"), _file("was-directory"), _directory("was-file")]
    items += [_file("was-file/x"), _directory("was-link", 0o555), _file("was-link/x", mode=0o4755)]
    write_items(iter(items), target)
    assert (target / "both/mine").read_text() == "mine"
    assert (target / "both/new").read_text() == "new"
    assert (target / "was-directory").read_text() == "new"
    assert (target / "was-file/x").read_text() == "new"
    assert not (target / "was-link").is_symlink()
    assert list(outside.iterdir()) == []
    assert ((target / "both").stat().st_mode & 0o7777, (target / "both").stat().st_mtime) == (0o750, 2)
    assert ((target / "was-link/x").stat().st_mode & 0o7777) == 0o4755
    assert sorted(path.name for path in target.iterdir()) == ["both", "was-directory", "was-file", "was-link"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_failure_leaves_nothing(tmp_path: Path, is_there: bool) -> None:  # noqa: FBT001
    target = tmp_path / "deep/target"
    if is_there:
        target.mkdir(parents=True)
        (target / "a").write_text("old")

    def failing() -> BinaryIO:
        raise KeyboardInterrupt

    def items() -> Iterator[LayerItem]:
        yield _file("a")
        yield LayerItem(Entry(path="b", kind=Kind.FILE, mode=0o644, size=3), failing)

    with pytest.raises(KeyboardInterrupt):
        write_items(items(), target)
    if is_there:
        assert [(path.name, path.read_text()) for path in target.iterdir()] == [("a", "old")]
    else:
        assert not (tmp_path / "deep").exists()
