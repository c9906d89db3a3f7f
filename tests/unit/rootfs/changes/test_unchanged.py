"""What the layers below have already is in no layer.

What is left out was tried with BuildKit of August 2026, which gives an empty layer each time. Kept on
purpose, and not there: the time of a directory, and a link between names that had none.
"""

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from knarr.layers.entry import LayerItem
from knarr.rootfs.changes.overlay_diff import diff_upper
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.changes.unchanged import Name, find_unchanged, without_unchanged
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.layer_tree import LayerTree
from support.trees import items_of, layer_tree, show_items, show_tree, with_items, write_tree

LOWER = [
    "d d 0700",
    "f d/x =1",
    "f d/y =2",
    "l d/l -> x",
    "p d/p",
    "f e/g =3",
    "h e/h -> d/y",
    "f top =4",
    "f z =",
]
OLD = ["f d/x =1", "f d/y =2", "h e/h -> d/y"]


def touch_all(root: Path) -> None:
    """What `chown -R` and `chmod -R` do where all is so already."""
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(status.st_mode & 0o7777)


def touch_all_and_write(root: Path) -> None:
    touch_all(root)
    (root / "e/g").write_text("33")


def keeping_times(change: Callable[[Path], object], *names: str) -> Callable[[Path], None]:
    """The change, with the times of some directories put back."""

    def changed(root: Path) -> None:
        before = {name: (root / name).stat().st_mtime_ns for name in names}
        change(root)
        for name, time_ns in before.items():
            os.utime(root / name, ns=(time_ns, time_ns))

    return changed


def rename_and_back(root: Path) -> None:
    (root / "d/x").rename(root / "d/t")
    (root / "d/t").rename(root / "d/x")


def replace_by_copy(root: Path) -> None:
    subprocess.run(["cp", "-p", root / "top", root / "new"], check=True)
    (root / "new").rename(root / "top")


def replace_link(root: Path) -> None:
    status = (root / "d/l").lstat()
    (root / "d/l").unlink()
    (root / "d/l").symlink_to("x")
    os.utime(root / "d/l", ns=(0, status.st_mtime_ns), follow_symlinks=False)


def rewrite(root: Path) -> None:
    """Other content, the same size and time."""
    path = root / "d/x"
    status = path.stat()
    path.write_text("9")
    os.utime(path, ns=(0, status.st_mtime_ns))


def point_elsewhere(root: Path) -> None:
    """A link of the same length and time."""
    status = (root / "d/l").lstat()
    (root / "d/l").unlink()
    (root / "d/l").symlink_to("y")
    os.utime(root / "d/l", ns=(0, status.st_mtime_ns), follow_symlinks=False)


def link_to_equal(root: Path) -> None:
    """One more name of a file that is there; both are in the layer, so that they stay one file."""
    (root / "n").hardlink_to(root / "top")


def replace_directory(root: Path) -> None:
    """A directory made anew with the files of before; one is missing."""
    other = root / "other"
    other.mkdir(mode=0o700)
    subprocess.run(["cp", "-a", root / "d/x", root / "d/l", root / "d/p", other], check=True)
    subprocess.run(["rm", "-r", root / "d"], check=True)
    other.rename(root / "d")


CHANGES: list[tuple[Callable[[Path], object], list[str]]] = [
    (touch_all, []),
    (rename_and_back, ["d d 0700"]),
    (keeping_times(rename_and_back, "d"), []),
    (replace_by_copy, []),
    (keeping_times(replace_link, "d"), []),
    (keeping_times(rewrite, "d"), ["d d 0700", "f d/x =9"]),
    (keeping_times(point_elsewhere, "d"), ["d d 0700", "l d/l -> y"]),
    (link_to_equal, ["f n =4", "h top -> n"]),
    (lambda root: os.utime(root / "top"), ["f top =4"]),
    (touch_all_and_write, ["d e", "f e/g =33"]),
    (keeping_times(replace_directory), ["d d 0700", "f d/.wh.y ="]),
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Not on an overlay."""
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def by_overlay(place: Path, change: Callable[[Path], object]) -> list[str]:
    lower = write_tree(place / "lower", LOWER)
    for name in ("upper", "work", "merged"):
        (place / name).mkdir()
    options = f"lowerdir={lower},upperdir={place}/upper,workdir={place}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, place / "merged"], check=True)
    try:
        change(place / "merged")
    finally:
        subprocess.run(["umount", place / "merged"], check=True)
    upper, below = os.open(place / "upper", os.O_PATH), os.open(lower, os.O_PATH)
    try:
        with DirTree(below) as tree:
            return show_items(diff_upper(upper, lower=tree))
    finally:
        os.close(upper)
        os.close(below)


def by_scan(place: Path, change: Callable[[Path], object]) -> list[str]:
    root = write_tree(place / "root", LOWER)
    fd = os.open(root, os.O_RDONLY)
    try:
        layers = layer_tree(LOWER, place / "spool")
        before = Scan.take(fd)
        change(root)
        return show_items(changes(before, fd, Scan.take(fd), lambda: layers))
    finally:
        os.close(fd)


@pytest.mark.root
@pytest.mark.parametrize(("change", "layer"), CHANGES)
@pytest.mark.parametrize("find", [by_overlay, by_scan])
def test_the_same_in_both_modes(
    find: Callable[[Path, Callable[[Path], object]], list[str]],
    change: Callable[[Path], object],
    layer: list[str],
    place: Path,
) -> None:
    assert find(place, change) == layer


@pytest.mark.root
@pytest.mark.parametrize("find", [by_overlay, by_scan])
def test_capabilities_count(find: Callable[[Path, Callable[[Path], object]], list[str]], place: Path) -> None:
    """They change the ctime only."""
    value = bytes.fromhex("0100000200000000000000000000000000000000")
    layer = find(place, lambda root: os.setxattr(root / "top", "security.capability", value))
    assert layer == ["f top =4"]


def test_the_layers_are_asked_only_where_metadata_are_equal(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "root", LOWER)
    fd = os.open(root, os.O_RDONLY)
    try:
        before = Scan.take(fd)
        (root / "d/x").write_text("other")
        os.utime(root / "top", (1, 1))
        (root / "z").unlink()

        def asked() -> LayerTree:
            raise AssertionError("the layers were indexed for nothing")

        shown = show_items(changes(before, fd, Scan.take(fd), asked))
    finally:
        os.close(fd)
    assert shown == ["f .wh.z =", "d d 0700", "f d/x =other", "f top =4"]


def not_to_open() -> BinaryIO:
    raise AssertionError("size or time had told it already")


def test_only_what_may_be_the_same_is_read(tmp_path: Path) -> None:
    tree = layer_tree(LOWER, tmp_path)
    names = [
        Name("d/x", looks_same=False, open_content=not_to_open),
        Name("top", looks_same=True, open_content=lambda: io.BytesIO(b"4")),
        Name("e/g", looks_same=True, open_content=lambda: io.BytesIO(b"x")),
        Name("d/l", looks_same=True, open_content=None),
        Name("one", looks_same=True, open_content=not_to_open, group=1, group_before=None),
        Name("other", looks_same=False, open_content=not_to_open, group=1, group_before=7),
    ]
    assert find_unchanged(names, lambda: tree) == {"top", "d/l"}


def copied(lines: list[str], below: list[str], place: Path) -> list[str]:
    return show_items(without_unchanged(items_of(lines), layer_tree(below, place), lambda item: item))


@pytest.mark.parametrize(
    ("lines", "layer"),
    [
        (["d d 0700", "f d/x =1", "f d/y =2"], []),
        (["d d 0700", "f d/x =1", "f d/n =9"], ["d d 0700", "f d/n =9"]),
        (["d d 0711", "f d/x =1"], ["d d 0711"]),
        (["d d 0700", "f d/x =1", "f d/y =9"], ["d d 0700", "f d/y =9"]),
        (["d d 0700", "f d/x 0600 =1"], ["d d 0700", "f d/x 0600 =1"]),
        (["d d 0700", "l d/l -> x"], []),
        (["d d 0700", "l d/l -> y"], ["d d 0700", "l d/l -> y"]),
        (["d d 0700", "f d/y =2", "d e", "h e/h -> d/y"], []),
        (["d d 0700", "f d/x =1", "d e", "h e/h -> d/x"], ["d d 0700", "f d/x =1", "d e", "h e/h -> d/x"]),
        (["d d 0700", "f d/.wh..wh..opq =", "f d/x =1"], ["d d 0700", "f d/.wh..wh..opq =", "f d/x =1"]),
        (["f z ="], []),
    ],
)
def test_copies(lines: list[str], layer: list[str], tmp_path: Path) -> None:
    assert copied(lines, LOWER, tmp_path) == layer


def test_times_count_as_the_layer_has_them(tmp_path: Path) -> None:
    """A context has fractions of a second, a layer has none; and SOURCE_DATE_EPOCH cuts them."""
    tree = layer_tree(LOWER, tmp_path)
    (item,) = items_of(["f top =4"])
    moved = replace(item, entry=replace(item.entry, mtime_ns=item.entry.mtime_ns + 999_999_999))
    assert without_unchanged([moved], tree, lambda item: item) == []
    late = replace(item, entry=replace(item.entry, mtime_ns=item.entry.mtime_ns + 10**9))
    assert without_unchanged([late], tree, lambda item: item) == [late]
    assert without_unchanged([late], tree, lambda _: item) == []


def test_contents_are_compared_in_one_pass_over_the_layer(tmp_path: Path) -> None:
    big = "x" * 100_000
    tree = layer_tree(["f a =1", f"f b ={big}", "h c -> b", "f d =4"], tmp_path)
    opened = {
        "a": b"1",
        "b": big.encode(),
        "c": big.encode() + b"more",
        "d": b"",
    }
    others = {path: partial(io.BytesIO, content) for path, content in opened.items()}
    assert tree.same_contents(others) == {"a", "b"}
    assert not list(tmp_path.iterdir())


def test_a_layer_without_what_is_there_leads_to_the_same(tmp_path: Path) -> None:
    below = layer_tree(LOWER, tmp_path)
    items: list[LayerItem] = items_of(["d d 0700", "f d/x =1", "f d/y =9", "f top =4"])
    whole = with_items(below, items)
    less = with_items(below, without_unchanged(items, below, lambda item: item))
    assert show_tree(less) == show_tree(whole)
