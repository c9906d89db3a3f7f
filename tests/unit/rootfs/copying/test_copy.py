"""COPY as data: tests/data/copy/cases.json, each case with sources and destinations of both kinds."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.errors import ContextError, DockerfileError
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.tar.read import TarReader
from knarr.layers.tar.write import write_tar
from knarr.rootfs.copying.chmod import ModeChange
from knarr.rootfs.copying.copy import CopyRequest, InlineFile, join_dest, plan_copy
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.layer_draft import Owner, plan_workdir
from knarr.rootfs.tree import EmptyTree, Tree
from knarr.rootfs.unpacking.unpack import OwnerPolicy, apply_layer
from support.places import DATA
from support.trees import MTIME_NS, layer_tree, show_items, show_tree, with_items, write_tree

CASES = json.loads((DATA / "copy/cases.json").read_text())
GOOD_CASES = [case for case in CASES if "layer" in case]
CREATED_NS = MTIME_NS + 5_000_000_000


@contextmanager
def open_tree(kind: str, lines: list[str], place: Path) -> Iterator[Tree]:
    if kind == "layers":
        yield layer_tree(lines, place)
        return
    fd = os.open(write_tree(place, lines), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with DirTree(fd) as tree:
            yield tree
    finally:
        os.close(fd)


def owner(text: str) -> Owner:
    uid, gid = text.split(":")
    return Owner(int(uid), int(gid))


def document(text: str) -> InlineFile:
    name, _, content = text.partition(":")
    return InlineFile.document(name, content.encode())


def request_of(arguments: list[str], workdir: str) -> CopyRequest:
    flags = [word.removeprefix("--") for word in arguments if word.startswith("--")]
    values = [flag.partition("=")[::2] for flag in flags]
    given = dict(values)
    *sources, dest = [word for word in arguments if not word.startswith("--")]
    return CopyRequest(
        dest=join_dest(workdir, dest),
        sources=tuple(sources),
        files=tuple(document(value) for name, value in values if name == "doc"),
        keep_owner="from" in given,
        chown=owner(given["chown"]) if "chown" in given else None,
        chmod=ModeChange.parse(given["chmod"]) if "chmod" in given else None,
        link="link" in given,
        parents="parents" in given,
        exclude=IgnorePatterns.from_flags(value for name, value in values if name == "exclude"),
        created_ns=CREATED_NS,
    )


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "layer" in case],
    ids=[case["name"] for case in CASES if "layer" in case],
)
def test_the_layer_unpacks_to_what_the_step_sees(case: dict[str, Any], tmp_path: Path) -> None:
    arguments = case["copy"] if isinstance(case["copy"], list) else case["copy"].split()
    request = request_of(arguments, case.get("workdir", "/"))
    dest = layer_tree(case.get("dest", []), tmp_path)
    items = plan_copy(request, layer_tree(case["source"], tmp_path), dest)
    out = io.BytesIO()
    write_tar(items, out.write)
    place = write_tree(tmp_path / "dest", case.get("dest", []))
    fd = os.open(place, os.O_RDONLY)
    try:
        apply_layer(fd, TarReader(io.BytesIO(out.getvalue())), owner_policy=OwnerPolicy.RECORD)
    finally:
        os.close(fd)
    with open_tree("directory", [], place) as unpacked:
        assert show_tree(unpacked) == show_tree(with_items(dest, items))


@pytest.mark.parametrize("dest_kind", ["layers", "directory"])
@pytest.mark.parametrize("source_kind", ["layers", "directory"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: dict[str, Any], source_kind: str, dest_kind: str, tmp_path: Path) -> None:
    arguments = case["copy"] if isinstance(case["copy"], list) else case["copy"].split()
    request = request_of(arguments, case.get("workdir", "/"))
    with (
        open_tree(source_kind, case["source"], tmp_path / "source") as source,
        open_tree(dest_kind, case.get("dest", []), tmp_path / "dest") as dest,
    ):
        if "error" in case:
            with pytest.raises(ContextError) as raised:
                plan_copy(request, source, dest)
            assert case["error"] in str(raised.value)
            assert raised.value.hint
            return
        items = plan_copy(request, source, dest)
        assert show_items(items) == case["layer"]
        assert_parents_first(items)


def assert_parents_first(items: list[LayerItem]) -> None:
    seen = {""}
    for item in items:
        assert item.entry.path.rpartition("/")[0] in seen
        assert item.entry.path not in seen
        seen.add(item.entry.path)
        if item.entry.kind is Kind.HARDLINK:
            assert item.entry.link_target in seen


def entries(items: list[LayerItem]) -> dict[str, Entry]:
    return {item.entry.path: item.entry for item in items}


def test_times(tmp_path: Path) -> None:
    source = layer_tree(["d d", "d d/e", "f d/e/x =1"], tmp_path)
    dest = layer_tree(["d old"], tmp_path)
    made = entries(plan_copy(request_of(["d", "/new/d"], "/"), source, dest))
    assert made["new"].mtime_ns == CREATED_NS
    assert made["new/d"].mtime_ns == MTIME_NS, "the source directory's"
    assert made["new/d/e"].mtime_ns == made["new/d/e/x"].mtime_ns == MTIME_NS
    document = entries(plan_copy(request_of(["--doc=f:x", "/old/"], "/"), source, dest))
    assert document["old/f"].mtime_ns == CREATED_NS


def test_attributes_are_copied(tmp_path: Path) -> None:
    place = write_tree(tmp_path / "source", ["f d/x =1", "d d/e"])
    os.setxattr(place / "d/x", "user.colour", b"red")
    os.setxattr(place / "d/e", "user.overlay.opaque", b"y")
    with open_tree("directory", [], place) as source:
        made = entries(plan_copy(request_of(["d", "/o"], "/"), source, EmptyTree()))
    assert made["o/x"].xattrs == {"user.colour": b"red"}
    assert made["o/e"].xattrs == {}


def test_device_nodes_are_copied(tmp_path: Path) -> None:
    null = Entry(path="d/null", kind=Kind.CHAR, mode=0o666, device=(1, 3))
    source = with_items(layer_tree(["d d"], tmp_path), [LayerItem(null)])
    made = entries(plan_copy(request_of(["d", "/o"], "/"), source, EmptyTree()))
    assert (made["o/null"].kind, made["o/null"].device) == (Kind.CHAR, (1, 3))


def test_hint_names_the_ignore_file(tmp_path: Path) -> None:
    request = CopyRequest(dest="/", sources=("secret",), ignored=lambda path: path == "secret")
    with pytest.raises(ContextError) as raised:
        plan_copy(request, layer_tree([], tmp_path), EmptyTree())
    assert ".dockerignore" in str(raised.value)


def test_a_file_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    place = write_tree(tmp_path / "source", ["f d/x =1"])
    (tmp_path / "outside").write_text("secret")
    with open_tree("directory", [], place) as source:
        items = plan_copy(request_of(["d", "/o"], "/"), source, EmptyTree())
        (place / "d/x").unlink()
        (place / "d/x").symlink_to(tmp_path / "outside")
        with pytest.raises(ContextError, match="opening /d/x"):
            show_items(items)


def test_a_file_swapped_for_a_fifo_does_not_block(tmp_path: Path) -> None:
    place = write_tree(tmp_path / "source", ["f d/x =1"])
    with open_tree("directory", [], place) as source:
        items = plan_copy(request_of(["d", "/o"], "/"), source, EmptyTree())
        (place / "d/x").unlink()
        os.mkfifo(place / "d/x")
        with pytest.raises(ContextError, match="no regular file"):
            show_items(items)


def test_a_directory_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    place = write_tree(tmp_path / "source", ["f d/e/x =1"])
    write_tree(tmp_path / "outside", ["f x =secret"])
    with open_tree("directory", [], place) as source:
        items = plan_copy(request_of(["d", "/o"], "/"), source, EmptyTree())
        (place / "d/e").rename(place / "d/f")
        (place / "d/e").symlink_to(tmp_path / "outside")
        with pytest.raises(ContextError, match="opening /d/e/x"):
            show_items(items)


@pytest.mark.parametrize(
    ("workdir", "dest", "joined"),
    [
        ("/", "", "/"),
        ("/", ".", "/"),
        ("/w", "", "/w/"),
        ("/w", ".", "/w/"),
        ("/w", "a", "/w/a"),
        ("/w", "a/", "/w/a/"),
        ("/w", "a/.", "/w/a/"),
        ("/w", "..", "/"),
        ("/w", "../../../x", "/x"),
        ("/w", "/a//b/", "/a/b/"),
    ],
)
def test_join_dest(workdir: str, dest: str, joined: str) -> None:
    assert join_dest(workdir, dest) in (joined, joined.rstrip("/") or "/")
    assert join_dest(workdir, dest) == joined


@pytest.mark.parametrize(
    ("dest", "path", "layer"),
    [
        ([], "/", []),
        ([], "/a/b", ["d a 0755 7:8", "d a/b 0755 7:8"]),
        (["d a 0700"], "/a/b/", ["d a 0700", "d a/b 0755 7:8"]),
        (["d a"], "/a", []),
        (["d real", "l s -> /real"], "/s", []),
        (["d real", "l s -> ../../real"], "/s/b", ["d real", "d real/b 0755 7:8"]),
        (["l s -> /proc/self/fd/7"], "/s", ["d proc 0755 7:8"]),
    ],
)
def test_workdir(dest: list[str], path: str, layer: list[str], tmp_path: Path) -> None:
    items = plan_workdir(path, layer_tree(dest, tmp_path), owner=Owner(7, 8), created_ns=CREATED_NS)
    assert show_items(items)[: max(len(layer), 0)] == layer
    assert bool(items) == bool(layer)


def test_workdir_over_a_file(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="no directory"):
        plan_workdir("/f/d", layer_tree(["f f =x"], tmp_path))


def test_a_layer_on_a_tree_gives_what_the_step_saw(tmp_path: Path) -> None:
    dest = layer_tree(["d usr 0711 3:4", "f usr/old =o", "l lib -> usr"], tmp_path)
    items = plan_copy(request_of(["a", "/lib/"], "/"), layer_tree(["f a =x"], tmp_path), dest)
    assert show_tree(with_items(dest, items)) == [
        "l lib -> usr",
        "d usr 0711 3:4",
        "f usr/a =x",
        "f usr/old =o",
    ]
    assert show_tree(dest) == ["l lib -> usr", "d usr 0711 3:4", "f usr/old =o"]


def test_random_sources_arrive_whole(tmp_path: Path) -> None:
    lines = ["d d"] + [f"f d/{a}/{b} 0{6 + a % 2}44 ={a}{b}" for a in range(9) for b in range(9)]
    items = plan_copy(request_of(["d", "/"], "/"), layer_tree(lines, tmp_path), EmptyTree())
    expected = show_tree(layer_tree(lines, tmp_path), "d")
    assert show_items(items) == [line.replace(" d/", " ", 1) for line in expected]


def test_chmod_is_checked() -> None:
    with pytest.raises(DockerfileError, match="should be octal string and between 0 and 07777"):
        ModeChange.parse("64a")


def test_a_name_that_means_a_deletion_is_refused(tmp_path: Path) -> None:
    with open_tree("directory", ["f d/.wh.x =1"], tmp_path / "source") as source:
        with pytest.raises(ContextError, match="means a deletion"):
            plan_copy(request_of(["d", "/o"], "/"), source, EmptyTree())


def test_a_source_of_any_depth(tmp_path: Path) -> None:
    """A path of a layer may be 4095 bytes long: two thousand directories, more than Python's stack takes."""
    deep = "/".join(["d"] * 2000)
    source = layer_tree([f"f {deep}/x =1", "f e =2"], tmp_path)
    request = request_of(["--from=stage", "/", "/to/"], "/")
    items = plan_copy(request, source, EmptyTree())
    assert {f"to/{deep}/x", "to/e"} <= entries(items).keys()
