"""Several layers as one: the property that nobody can tell, cases as lines of text."""

import io
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from knarr.errors import CorruptError
from knarr.images.squash import Squash
from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX, Kind
from knarr.layers.paths import join, name_of, parent_of
from knarr.layers.spool import Spool
from knarr.layers.tar.read import read_members
from knarr.layers.tar.write import write_tar
from knarr.rootfs.layer_tree import LayerTree
from knarr.rootfs.tree import Tree
from support.trees import items_of, layer_tree, parse_line, show_items, show_tree, with_items


class Merger:
    """Layers as they are stored, merged on top of a base."""

    def __init__(self, place: Path, base: list[str]) -> None:
        self._tars: list[bytes] = []
        place.mkdir(exist_ok=True)
        self._spool = Spool(place / "merged", self._open)
        self.base = layer_tree(base, place / "base")

    @contextmanager
    def _open(self, source: Hashable) -> Iterator[io.BytesIO]:
        assert isinstance(source, int)
        yield io.BytesIO(self._tars[source])

    def merge(self, layers: list[list[str]]) -> list[str]:
        """The one layer as lines."""
        merge = Squash(self._spool, lambda: self.base)
        for lines in layers:
            out = io.BytesIO()
            write_tar(items_of(lines), out.write)
            self._tars.append(out.getvalue())
            merge.add(read_members(io.BytesIO(out.getvalue())), len(self._tars) - 1)
        self.items = merge.items()
        return show_items(self.items)


def show_names(tree: Tree) -> list[list[str]]:
    """The groups of names that are one file each."""
    groups: dict[Hashable, list[str]] = {}
    for path in all_paths(tree):
        group = tree.link_group(path)
        if group is not None:
            groups.setdefault(group, []).append(path)
    return sorted(each for each in groups.values() if len(each) > 1)


def all_paths(tree: Tree, directory: str = "") -> Iterator[str]:
    for name in tree.children(directory):
        path = join(directory, name)
        yield path
        entry = tree.lookup(path)
        if entry is not None and entry.kind is Kind.DIRECTORY:
            yield from all_paths(tree, path)


def check_same(place: Path, base: list[str], layers: list[list[str]]) -> None:
    """The merged layer leaves what the layers leave, one after the other."""
    merger = Merger(place, base)
    merger.merge(layers)
    tree = merger.base
    for lines in layers:
        tree = with_items(tree, items_of(lines))
    merged = with_items(merger.base, merger.items)
    assert show_tree(merged) == show_tree(tree)
    assert [merged.lookup("")] == [tree.lookup("")]


@pytest.mark.parametrize(
    ("base", "layers", "expected"),
    [
        ([], [["f a =1"], ["f a =2"]], ["f a =2"]),
        ([], [["f a =1", "f b ="], ["f .wh.a ="]], ["f .wh.a =", "f b ="]),
        (["f a =1"], [["f .wh.a ="], ["f a =2"]], ["f a =2"]),
        (["f d/x =1"], [["f .wh.d ="], ["d d", "f d/y =2"]], ["d d", "f d/.wh..wh..opq =", "f d/y =2"]),
        (["f d/x =1"], [["f d =1"], ["d d"]], ["d d", "f d/.wh..wh..opq ="]),
        (["f d/x =1"], [["f .wh.d =", "d d"]], ["d d", "f d/.wh..wh..opq ="]),
        (["f d/x =1"], [["f d/y =2"], ["f .wh.d ="]], ["f .wh.d ="]),
        (["f d/x =1"], [["f d/y =2", "f d/.wh.x ="], ["f d =3"]], ["f d =3"]),
        (["f d/x =1"], [["f d/y =2"], ["f d/.wh..wh..opq ="]], ["f d/.wh..wh..opq ="]),
        (["f d/x =1"], [["f d/.wh..wh..opq =", "d d"], ["l d -> x"]], ["l d -> x"]),
        ([], [["f b =1", "h c -> b"], ["f a =2"]], ["f a =2", "f b =1", "h c -> b"]),
        ([], [["f b =1", "h c -> b"], ["f b =2"]], ["f b =2", "f c =1"]),
        ([], [["f b =1", "h c -> b"], ["f .wh.b ="]], ["f .wh.b =", "f c =1"]),
        ([], [["f b =1", "h a -> b"]], ["f a =1", "h b -> a"]),
        (["f b =1"], [["h a -> b"]], ["f a =1", "h b -> a"]),
        (["f b =1"], [["h c -> b"], ["f b =2"]], ["f b =2", "f c =1"]),
        ([], [["p b", "h a -> b"]], ["p a", "h b -> a"]),
        ([], [["d d 0700 5:6"], ["d d 0711 1:2"]], ["d d 0711 1:2"]),
    ],
)
def test_cases(base: list[str], layers: list[list[str]], expected: list[str], tmp_path: Path) -> None:
    assert Merger(tmp_path, base).merge(layers) == expected
    check_same(tmp_path / "again", base, layers)


def test_names_stay_names_of_one_file(tmp_path: Path) -> None:
    merger = Merger(tmp_path, ["f old =0"])
    merger.merge([["f b =1", "h a -> b", "h d/c -> b", "h new -> old"], ["f b =2"]])
    assert show_names(with_items(merger.base, merger.items)) == [["a", "d/c"], ["new", "old"]]


@pytest.mark.parametrize("target", ["gone", "d"])
def test_hard_link_to_nothing(target: str, tmp_path: Path) -> None:
    merge = Squash(
        Spool(tmp_path, lambda _: pytest.fail("nothing is read")), lambda: layer_tree(["d d"], tmp_path)
    )
    out = io.BytesIO()
    write_tar(items_of([f"h b -> {target}"]), out.write)
    with pytest.raises(CorruptError, match="is no file"):
        merge.add(read_members(io.BytesIO(out.getvalue())), 0)


NAMES = ("a", "b", "c")
paths = strategies.lists(strategies.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
lines_of_layers = strategies.one_of(
    strategies.builds("d {} 0{}".format, paths, strategies.sampled_from(["700", "755"])),
    strategies.builds("f {} ={}".format, paths, strategies.integers(0, 9)),
    strategies.builds("l {} -> nowhere".format, paths),
    strategies.builds("p {}".format, paths),
    strategies.builds("h {} -> {}".format, paths, paths),
    paths.map(lambda path: f"f {join(parent_of(path), WHITEOUT_PREFIX + name_of(path))} ="),
    paths.map(lambda path: f"f {path}/{OPAQUE_MARKER} ="),
)
layers_of_lines = strategies.lists(strategies.lists(lines_of_layers, max_size=8), min_size=1, max_size=4)


def well_formed(tree: LayerTree, lines: list[str]) -> tuple[LayerTree, list[str]]:
    """The lines that a layer of changes on a tree can have, with the tree behind it."""
    kept: list[str] = []
    after = tree
    for line in lines:
        if _may_come(line, kept, tree, after):
            after = with_items(tree, items_of([*kept, line]))
            kept.append(line)
    return after, kept


def _may_come(line: str, kept: list[str], tree: LayerTree, after: LayerTree) -> bool:
    """Such a layer goes through no link and no file, deletes what is there, puts things into directories."""
    entry, _ = parse_line(line)
    before = {parse_line(each)[0].path for each in kept}
    deleted = {gone for path in before if (gone := whited_out(path)) is not None}
    ancestors = set(ancestors_of(entry.path))
    found = [after.lookup(path) for path in ancestors]
    if entry.path in before or any(each is not None and each.kind is not Kind.DIRECTORY for each in found):
        return False
    gone = whited_out(entry.path)
    if gone is not None:
        below = any(gone in ancestors_of(path) for path in before | deleted)
        return tree.lookup(gone) is not None and not below and not deleted & {gone, *ancestors}
    if entry.kind is Kind.HARDLINK:
        target = after.lookup(entry.link_target)
        if entry.link_target == entry.path:
            return False
        if target is None or target.kind is not Kind.FILE or (deleted and entry.link_target not in before):
            return False
    return all(path in before for path in deleted & ancestors)


def whited_out(path: str) -> str | None:
    """What a marker deletes; None for what is no marker."""
    name = name_of(path)
    if name == OPAQUE_MARKER:
        return parent_of(path)
    return (
        join(parent_of(path), name.removeprefix(WHITEOUT_PREFIX))
        if name.startswith(WHITEOUT_PREFIX)
        else None
    )


def ancestors_of(path: str) -> Iterator[str]:
    while path := parent_of(path):
        yield path


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(base=strategies.lists(lines_of_layers, max_size=8), changes=layers_of_lines)
def test_nobody_can_tell(base: list[str], changes: list[list[str]], tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    tree, below = well_formed(layer_tree([], place / "empty"), base)
    layers = []
    for lines in changes:
        tree, kept = well_formed(tree, lines)
        layers.append(kept)
    check_same(place, below, layers)
