"""Layers that name no parents give what overlayfs shows of layers unpacked each by itself.

The kernel is asked: see `support.layers_apart`. The result of LAYERS is that of BuildKit of August 2026, too.
"""

import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, reject, settings, strategies

from knarr.errors import ContextError, CorruptError
from knarr.layers.paths import join
from knarr.layers.tar.read import TarReader
from knarr.layers.tar.write import write_tar
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.unpacking.protection import Protection
from knarr.rootfs.unpacking.unpack import apply_layer
from support.layers_apart import NoLayerError, stacked
from support.trees import items_of, layer_tree, show_tree, with_items

pytestmark = pytest.mark.root

LOWER = [
    "d usr",
    "d usr/lib 0751 5:6",
    "f usr/lib/old =1",
    "l lib -> usr/lib",
    "l abs -> /usr/lib",
    "l chain -> lib",
    "l dangling -> /nowhere/x",
    "f file =1",
    "f file2 =2",
    "d r",
    "f r/x =1",
    "l s -> r",
    "l o -> r",
    "d dir 0711 7:8",
    "f dir/a =1",
    "d deep",
    "d deep/er 0700",
]
UPPER = [
    "f lib/b =2",
    "f dangling/n =3",
    "f file/in =4",
    "f s/.wh.x =",
    "f file2/.wh.q =",
    "f o/.wh..wh..opq =",
    "f dir/b =2",
    "f deep/er/f =1",
    "f chain/c/d =7",
    "f new/.wh.z =",
    "l own -> r",
    "f own/y =5",
    "l own2 -> lib",
    "f own2/z =6",
    "f abs/q =1",
    "h hl -> lib/b",
]
BOTH = [
    "d abs 0751 5:6",
    "f abs/q =1",
    "d chain 0751 5:6",
    "d chain/c",
    "f chain/c/d =7",
    "d dangling",
    "f dangling/n =3",
    "d deep",
    "d deep/er 0700",
    "f deep/er/f =1",
    "d dir 0711 7:8",
    "f dir/a =1",
    "f dir/b =2",
    "d file",
    "f file/in =4",
    "d file2",
    "f hl =2",
    "d lib 0751 5:6",
    "f lib/b =2",
    "f lib/z =6",
    "d new",
    "d o",
    "l own -> r",
    "l own2 -> lib",
    "d r",
    "f r/x =1",
    "f r/y =5",
    "d s",
    "d usr",
    "d usr/lib 0751 5:6",
    "f usr/lib/old =1",
]
LAYERS: list[tuple[list[list[str]], list[str]]] = [
    ([LOWER, UPPER], BOTH),
    (
        [["d u", "l l -> u"], ["d l 0700", "f l/a =1"], ["f l/b =2"]],
        ["d l 0700", "f l/a =1", "f l/b =2", "d u"],
    ),
    ([["d d", "f d/x =1"], ["l d -> e", "f d/y =2"], ["f d/z =3"]], ["d d", "f d/z =3", "d e", "f e/y =2"]),
    ([["d u", "l l -> u"], ["f .wh.l =", "f l/b =1"]], ["d l", "f l/b =1", "d u"]),
    ([["d u", "l l -> u"], ["f l/b =1", "f .wh.l ="]], ["d l", "f l/b =1", "d u"]),
    ([["p l"], ["f l/b =1"]], ["d l", "f l/b =1"]),
    (
        [["d a", "l a/l -> ../b", "d b", "f b/x =1"], ["f a/l/x/y =2"]],
        [
            "d a",
            "d a/l",
            "d a/l/x",
            "f a/l/x/y =2",
            "d b",
            "f b/x =1",
        ],
    ),
    ([["d b", "l a -> b"], ["l c -> a", "f c/x =1"]], ["d a", "f a/x =1", "d b", "l c -> a"]),
    ([["d b", "l a -> b"], ["l a -> b", "f a/x =1"]], ["l a -> b", "d b", "f b/x =1"]),
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Not on an overlay."""
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


class Seen(DirTree):
    """What can be looked up: the kernel lists whiteouts of a directory that has no lower one."""

    def children(self, path: str) -> list[str]:
        return [name for name in super().children(path) if self.lookup(join(path, name)) is not None]


def shown(path: Path) -> list[str]:
    fd = os.open(path, os.O_PATH)
    try:
        with Seen(fd) as tree:
            return show_tree(tree)
    finally:
        os.close(fd)


def unpacked(path: Path, layers: list[list[str]], protection: Protection | None = None) -> list[str]:
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    try:
        for lines in layers:
            out = io.BytesIO()
            write_tar(items_of(lines), out.write)
            apply_layer(fd, TarReader(io.BytesIO(out.getvalue())), protected=protection)
    finally:
        os.close(fd)
    return shown(path)


def indexed(path: Path, layers: list[list[str]]) -> list[str]:
    tree = layer_tree([], path)
    for lines in layers:
        tree = with_items(tree, items_of(lines))
    return show_tree(tree)


@pytest.mark.parametrize(("layers", "expected"), LAYERS)
def test_as_overlayfs_shows_them(layers: list[list[str]], expected: list[str], place: Path) -> None:
    with stacked(place, layers) as merged:
        assert shown(merged) == expected
    assert unpacked(place / "unpacked", layers) == expected
    assert indexed(place / "spool", layers) == expected


NAMES = ("a", "b", "c")
paths = strategies.lists(strategies.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
entry_lines = strategies.one_of(
    strategies.builds("d {}".format, paths),
    strategies.builds("f {} ={}".format, paths, strategies.integers(0, 9)),
    strategies.builds("l {} -> {}".format, paths, strategies.one_of(paths, paths.map("/{}".format))),
    strategies.builds("f {}/.wh.{} =".format, paths, strategies.sampled_from(NAMES)),
    strategies.builds("f .wh.{} =".format, strategies.sampled_from(NAMES)),
    strategies.builds("f {}/.wh..wh..opq =".format, paths),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(layers=strategies.lists(strategies.lists(entry_lines, max_size=6), min_size=2, max_size=3))
def test_any_layers(layers: list[list[str]], place: Path) -> None:
    here = Path(tempfile.mkdtemp(dir=place))
    try:
        with stacked(here, layers) as merged:
            expected = shown(merged)
    except NoLayerError:
        reject()
    assert unpacked(here / "unpacked", layers) == expected
    assert indexed(here / "spool", layers) == expected


@pytest.mark.parametrize("layers", [[["f f =1", "f f/x =2"]], [["l a -> b", "l b -> a", "f a/x =1"]]])
def test_what_the_layer_itself_contradicts_is_refused(layers: list[list[str]], place: Path) -> None:
    with pytest.raises(NoLayerError), stacked(place, layers):
        pass
    with pytest.raises(CorruptError):
        unpacked(place / "unpacked", layers)
    with pytest.raises((CorruptError, ContextError)):
        indexed(place / "spool", layers)


def test_a_circle_of_links_below_gives_way_too(place: Path) -> None:
    """containerd refuses it, for want of a directory whose owner it could take over."""
    layers = [["l l -> l"], ["f l/b =1"]]
    assert unpacked(place / "unpacked", layers) == ["d l", "f l/b =1"]
    assert indexed(place / "spool", layers) == ["d l", "f l/b =1"]


def test_hard_links_go_on_to_lower_layers(place: Path) -> None:
    """BuildKit refuses these; other tools make and take them."""
    layers = [["d usr", "f usr/f =1", "l lib -> usr"], ["h a -> usr/f", "h b -> lib/f"]]
    expected = ["f a =1", "f b =1", "l lib -> usr", "d usr", "f usr/f =1"]
    assert unpacked(place / "unpacked", layers) == expected
    assert indexed(place / "spool", layers) == expected


def test_a_directory_that_stays_for_what_is_protected_in_it_becomes_the_images_again(place: Path) -> None:
    (place / "root/run/mnt").mkdir(parents=True)
    (place / "root/run/mnt/kept").write_text("k")
    (place / "root").rename(place / "moved")
    protection = Protection(["run/mnt"])
    fd = os.open(place / "moved", os.O_RDONLY)
    try:
        for lines, is_blocked in ((["d r", "l run -> r"], True), (["f run/x =1"], False)):
            out = io.BytesIO()
            write_tar(items_of(lines), out.write)
            apply_layer(fd, TarReader(io.BytesIO(out.getvalue())), protected=protection)
            assert protection.is_blocked("run") is is_blocked
    finally:
        os.close(fd)
    assert shown(place / "moved") == ["d r", "d run", "d run/mnt", "f run/mnt/kept =k", "f run/x =1"]
