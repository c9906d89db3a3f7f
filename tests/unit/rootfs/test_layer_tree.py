import io
import os
import tempfile
import tracemalloc
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings, strategies

from knarr.errors import ContextError, CorruptError
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.spool import Spool
from knarr.layers.tar.read import TarMember, TarReader
from knarr.layers.tar.write import write_tar
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.layer_tree import LayerTree
from knarr.rootfs.unpacking.unpack import OwnerPolicy, apply_layer
from support.trees import items_of, layer_tree, show_tree, with_items


def layered(tmp_path: Path, *layers: list[str]) -> LayerTree:
    tree = layer_tree([], tmp_path)
    for lines in layers:
        tree = with_items(tree, items_of(lines))
    return tree


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([["f a =1"], ["f a =2"]], ["f a =2"]),
        ([["f d/x =1"], ["f d/y =2"]], ["d d", "f d/x =1", "f d/y =2"]),
        ([["d d 0700", "f d/x =1"], ["d d 0711 1:2"]], ["d d 0711 1:2", "f d/x =1"]),
        ([["f d/x =1"], ["f d =2"]], ["f d =2"]),
        ([["f d =1"], ["d d", "f d/x =2"]], ["d d", "f d/x =2"]),
        ([["f d =1"], ["f d/.wh.x ="]], ["d d"]),
        ([["f d =1"], ["f d/x =2"]], ["d d", "f d/x =2"]),
        ([["f a =1"], ["h b -> a", "f .wh.a ="]], ["f b =1"]),
        ([["f a =1", "h b 0600 5:6 -> a"]], ["f a 0600 5:6 =1", "f b 0600 5:6 =1"]),
        ([["f a =1"], ["h b 0600 5:6 -> a"]], ["f a 0600 5:6 =1", "f b 0600 5:6 =1"]),
        ([["f d/x =1", "f e =1"], ["f d/.wh.x ="]], ["d d", "f e =1"]),
        ([["f d/x =1"], ["f .wh.d ="]], []),
        ([["f d/x =1"], ["f .wh.gone ="]], ["d d", "f d/x =1"]),
        ([["f d/x =1", "f d/e/y =1"], ["d d", "f d/.wh..wh..opq =", "f d/z =2"]], ["d d", "f d/z =2"]),
        ([["f d/x =1"], ["f d/z =2", "f d/.wh..wh..opq ="]], ["d d", "f d/z =2"]),
        ([["f d/x =1"], ["f d/z =2", "f .wh.d ="]], ["d d", "f d/z =2"]),
        ([["f x =1"], ["f x =2", "f .wh.x ="]], ["f x =2"]),
        ([["f d/e/x =1"], ["f d/e/y =2", "f d/.wh..wh..opq ="]], ["d d", "d d/e", "f d/e/y =2"]),
        ([["d r", "l s -> r", "f s/x =1"]], ["d r", "f r/x =1", "l s -> r"]),
        ([["d r", "l s -> /r"], ["f s/x =1"], ["f s/.wh.x ="]], ["d r", "d s"]),
        ([["d r", "l s -> r"], ["d s"]], ["d r", "d s"]),
        ([["f a =1", "h b -> a"]], ["f a =1", "f b =1"]),
        ([["f a =1"], ["h b -> a"], ["f a =2"]], ["f a =2", "f b =1"]),
        ([["f a =1", "h b -> a"], ["f .wh.a ="]], ["f b =1"]),
        ([["l a -> /x", "h b -> a"]], ["l a -> /x", "l b -> /x"]),
        ([["p f"]], ["p f"]),
    ],
)
def test_layers(layers: list[list[str]], expected: list[str], tmp_path: Path) -> None:
    assert show_tree(layered(tmp_path, *layers)) == expected


def test_a_layer_leaves_the_tree_below_alone(tmp_path: Path) -> None:
    base = layered(tmp_path, ["f a/b/c =1", "f a/b/d =2", "d e 0700"])
    before = show_tree(base)
    one = with_items(base, items_of(["f a/b/.wh.c =", "d e 0711", "f a/b/n =3"]))
    two = with_items(base, items_of(["f a/b/c =9", "f .wh.e ="]))
    assert show_tree(base) == before
    assert show_tree(one) == ["d a", "d a/b", "f a/b/d =2", "f a/b/n =3", "d e 0711"]
    assert show_tree(two) == ["d a", "d a/b", "f a/b/c =9", "f a/b/d =2"]


def test_the_root_can_be_described(tmp_path: Path) -> None:
    tree = with_items(layer_tree([], tmp_path), [LayerItem(Entry("", Kind.DIRECTORY, 0o700, 5, 6))])
    root = tree.lookup("")
    assert root is not None
    assert (root.mode, root.uid, root.gid) == (0o700, 5, 6)


def test_a_file_below_a_file(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="a file itself"):
        layered(tmp_path, ["f d =1", "f d/x =2"])


NAMES = ("a", "b", "c")
paths = strategies.lists(strategies.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
entry_lines = strategies.one_of(
    strategies.builds("d {} 0{}".format, paths, strategies.sampled_from(["700", "755"])),
    strategies.builds("f {} ={}".format, paths, strategies.integers(0, 9)),
    strategies.builds("l {} -> {}".format, paths, strategies.one_of(paths, paths.map("/{}".format))),
    strategies.builds("h {} -> {}".format, paths, paths),
    strategies.builds(
        lambda path: f"f {path.rpartition('/')[0]}/.wh.{path.rpartition('/')[2]} =".replace(" /", " "), paths
    ),
    strategies.builds("f {}/.wh..wh..opq =".format, paths),
)


def on_disk(place: Path, lines: list[str]) -> bool:
    """Apply a layer to a directory; whether it could be."""
    out = io.BytesIO()
    write_tar(items_of(lines), out.write)
    fd = os.open(place, os.O_RDONLY)
    try:
        apply_layer(fd, TarReader(io.BytesIO(out.getvalue())), owner_policy=OwnerPolicy.RECORD)
    except CorruptError:
        return False
    finally:
        os.close(fd)
    return True


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(layers=strategies.lists(strategies.lists(entry_lines, max_size=8), min_size=1, max_size=3))
def test_the_index_is_what_unpacking_gives(layers: list[list[str]], tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    tree = layer_tree([], tmp_path / "spool")
    for lines in layers:
        try:
            tree = with_items(tree, items_of(lines))
        except (CorruptError, ContextError):
            reject()
        assume(on_disk(place, lines))
        fd = os.open(place, os.O_PATH)
        with DirTree(fd) as unpacked:
            assert show_tree(tree) == show_tree(unpacked)
        os.close(fd)


@pytest.mark.parametrize("target", ["gone", "d"])
def test_hard_link_to_nothing(target: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="hard link"):
        layered(tmp_path, ["d d", f"h b -> {target}"])


def test_link_groups(tmp_path: Path) -> None:
    tree = layered(tmp_path, ["f a =1", "h b -> a", "f c =1"])
    assert tree.link_group("a") == tree.link_group("b") is not None
    assert tree.link_group("c") is None
    assert tree.link_group("gone") is None


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("bin/sh", "usr/bin/sh"),
        ("/bin//./sh", "usr/bin/sh"),
        ("abs/sh", "usr/bin/sh"),
        ("up/sh", "usr/bin/sh"),
        ("bin/../x", "usr/x"),
        ("gone/../x", "x"),
        ("gone/a/b", "gone/a/b"),
        ("usr/bin/sh/below", "usr/bin/sh/below"),
        ("..", ""),
        ("", ""),
        ("chain", "usr/bin"),
    ],
)
def test_resolve(path: str, resolved: str, tmp_path: Path) -> None:
    links = ["l bin -> usr/bin", "l abs -> /usr/bin", "l usr/up -> ../../..", "l up -> usr/up/usr/bin"]
    tree = layered(tmp_path, [*links, "l chain -> abs", "f usr/bin/sh =x"])
    assert tree.resolve(path) == resolved


def test_resolve_without_the_last_link(tmp_path: Path) -> None:
    tree = layered(tmp_path, ["l a -> b", "l d -> e", "l e/l -> x"])
    assert tree.resolve("a", follow_last=False) == "a"
    assert tree.resolve("d/l", follow_last=False) == "e/l"


def test_a_circle_of_links(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="255"):
        layered(tmp_path, ["l a -> b/x", "l b -> a/y"]).resolve("a")


class Layers:
    """Stored layers that count how often they are opened."""

    def __init__(self, spool: Path) -> None:
        self.tars: dict[Hashable, bytes] = {}
        self.opened: list[Hashable] = []
        self.tree = LayerTree(Spool(spool, self.open))

    @contextmanager
    def open(self, source: Hashable) -> Iterator[io.BytesIO]:
        self.opened.append(source)
        yield io.BytesIO(self.tars[source])

    def add(self, lines: list[str]) -> None:
        out = io.BytesIO()
        write_tar(items_of(lines), out.write)
        name = len(self.tars)
        self.tars[name] = out.getvalue()
        reader = TarReader(io.BytesIO(self.tars[name]))
        self.tree = self.tree.with_layer((TarMember(entry, reader.data_offset) for entry in reader), name)


def test_contents_of_stored_layers(tmp_path: Path) -> None:
    layers = Layers(tmp_path / "spool")
    big = "b" * 3_000_000
    layers.add([f"f a ={big}", "f b =1", "h c -> b", "f e ="])
    layers.add(["f d/x =2", "f .wh.gone =", "f b =3"])
    assert show_tree(layers.tree) == [f"f a ={big}", "f b =3", "f c =1", "d d", "f d/x =2", "f e ="]


def test_prepared_contents_take_one_pass_a_layer(tmp_path: Path) -> None:
    layers = Layers(tmp_path / "spool")
    layers.add([f"f {number:02} ={number}" for number in range(50)])
    layers.add(["f x =2"])
    layers.tree.prepare([f"{number:02}" for number in range(49, -1, -1)] + ["gone", "x", "x"])
    assert layers.opened == [0, 1]
    for number in range(50):
        with layers.tree.open(f"{number:02}") as stream:
            assert stream.read() == str(number).encode()
    assert layers.opened == [0, 1]


def test_sparse_content(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.tars[0] = b"junkABCD"
    spool = Spool(tmp_path / "spool", layers.open)
    member = TarMember(Entry("s", Kind.FILE, 0o644, size=12), 4, ((2, 2), (8, 2)))
    tree = LayerTree(spool).with_layer([member], 0)
    for _ in range(2):
        with tree.open("s") as stream:
            assert stream.read() == b"\0\0AB\0\0\0\0CD\0\0"
        tree.prepare(["s"])


def test_a_layer_that_ends_early(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.tars[0] = b"short"
    tree = layers.tree.with_layer([TarMember(Entry("f", Kind.FILE, 0o644, size=9), 0)], 0)
    with pytest.raises(CorruptError, match="middle of a file"):
        tree.open("f")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="no such file"):
        layered(tmp_path, ["p f"]).open("f")


def test_memory_of_a_large_tree(tmp_path: Path) -> None:
    def members() -> Iterator[TarMember]:
        for number in range(20_000):
            path = f"usr/share/doc{number // 50}/file{number}"
            entry = Entry(path, Kind.FILE, int("644", 8), 0, 0, 10**18 + number, number + 1000)
            yield TarMember(entry, number * 2048)

    tracemalloc.start()
    try:
        tree = layer_tree([], tmp_path).with_layer(members(), "layer")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tree.lookup("usr/share/doc0/file1") is not None
    assert used / 20_000 < 600, "bytes an entry"


def test_layers_of_any_depth(tmp_path: Path) -> None:
    """As deep as a path has room for, cleared but for what is the layer's own."""
    deep = "/".join(["d"] * 2000)
    tree = layered(tmp_path, [f"f {deep}/x =1"], [f"f {deep}/y =2", "f .wh..wh..opq ="])
    assert tree.children(deep) == ["y"]
    tree = with_items(tree, items_of([f"f {deep}/z =3", "f .wh.d ="]))
    assert tree.children(deep) == ["z"]


def test_a_path_that_links_make_too_long(tmp_path: Path) -> None:
    long = "/".join(["d" * 100] * 30)
    with pytest.raises(CorruptError, match="the path of 'x' is too long"):
        layered(tmp_path, [f"d {long}", f"l s -> {long}", f"f s/{long}/x =1"])
