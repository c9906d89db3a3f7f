import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.errors import ContextError
from knarr.layers.entry import Kind
from knarr.layers.paths import clean, sort_key
from knarr.linux import syscalls
from knarr.rootfs.copying.copy import CopyRequest, plan_copy
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.tree import EmptyTree, Tree, read_bounded
from support.trees import show_tree, write_tree

LEVELS = 3000
LINES = ["d d 0700 5:6", "f d/x 0600 7:8 =1", "l d/l -> /d/x", "p d/p"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "root", LINES)


@pytest.fixture
def tree(place: Path) -> Iterator[DirTree]:
    fd = os.open(place, os.O_PATH)
    with DirTree(fd) as tree:
        yield tree
    os.close(fd)


@contextmanager
def ignoring(place: Path, patterns: str) -> Iterator[DirTree]:
    fd = os.open(place, os.O_PATH)
    with DirTree(fd, ignore=IgnorePatterns.parse(patterns, file=".dockerignore")) as tree:
        yield tree
    os.close(fd)


def test_entries(tree: Tree) -> None:
    assert show_tree(tree) == ["d d 0700 5:6", "l d/l -> /d/x", "p d/p", "f d/x 0600 7:8 =1"]
    entry = tree.lookup("d/x")
    assert entry is not None
    assert entry.xattrs == {}, "the owner attribute is ours"


def test_what_is_not_there(tree: Tree) -> None:
    for path in ("gone", "gone/x", "d/x/y", "d/l/y", "d/" + "n" * 300, "d/nul\0"):
        assert tree.lookup(path) is None
        assert tree.children(path) == []
        assert tree.link_group(path) is None
    root = tree.lookup("")
    assert root is not None
    assert root.kind is Kind.DIRECTORY


def test_links_lead_nowhere_else(tree: Tree, place: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "outside", ["f secret =s"])
    (place / "abs").symlink_to(tmp_path / "outside")
    (place / "up").symlink_to("../outside")
    for link in ("abs", "up"):
        assert tree.lookup(f"{link}/secret") is None
        assert tree.children(link) == []
        assert tree.lookup(tree.resolve(f"{link}/secret")) is None
        with pytest.raises(ContextError):
            tree.open(f"{link}/secret")
    assert tree.resolve("up/secret") == "outside/secret"


def test_only_regular_files_are_opened(tree: Tree) -> None:
    for path in ("d", "d/p", "d/l", "gone", ""):
        with pytest.raises(ContextError):
            tree.open(path)


def test_sockets_are_not_there(place: Path, tree: Tree) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(place)
        server.bind("s")
        os.chdir("/")
    assert tree.lookup("s") is None


def test_attributes(place: Path, tree: Tree) -> None:
    for key in ("user.overlay.opaque", "user.knarr.owner", "user.kept"):
        os.setxattr(place / "d", key, b"1:2")
    entry = tree.lookup("d")
    assert entry is not None
    assert (entry.uid, entry.gid, dict(entry.xattrs)) == (1, 2, {"user.kept": b"1:2"})


@pytest.mark.parametrize("value", [b"root", b"4294967295:0", b"0:9999999999"])
def test_a_broken_owner_attribute(place: Path, tree: Tree, value: bytes) -> None:
    os.setxattr(place / "d", "user.knarr.owner", value)
    with pytest.raises(ContextError, match=r"user\.knarr\.owner"):
        tree.lookup("d")


def test_link_groups(place: Path, tree: Tree) -> None:
    (place / "other").hardlink_to(place / "d/x")
    assert tree.link_group("other") == tree.link_group("d/x") is not None
    assert tree.link_group("d/p") is None


@pytest.mark.parametrize(
    ("patterns", "shown"),
    [
        ("", ["d", "d/keep", "d/x", "e", "e/f", "top"]),
        ("top", ["d", "d/keep", "d/x", "e", "e/f"]),
        ("d", ["e", "e/f", "top"]),
        ("d\n!d/keep", ["d", "d/keep", "e", "e/f", "top"]),
        ("*\n!e", ["e", "e/f"]),
        ("**\n!**/keep", ["d", "d/keep"]),
        ("d/*", ["d", "e", "e/f", "top"]),
    ],
)
def test_ignored_files_are_not_there(patterns: str, shown: list[str], tmp_path: Path) -> None:
    names = ["d/keep", "d/x", "e/f", "top"]
    place = write_tree(tmp_path / "context", [f"f {name} =1" for name in names])
    with ignoring(place, patterns) as tree:
        assert [line.split()[1] for line in show_tree(tree)] == shown
        for path in ("d", "d/keep", "d/x", "e", "e/f", "top"):
            assert (tree.lookup(path) is not None) == (path in shown), path


TREES = st.sets(
    st.sampled_from(["a/k", "a/x", "a/b/k", "a/b/x", "b/a/k", "b/k", "c/x", "c/d/x", "x"]), min_size=1
)
TEXTS = st.sampled_from(["*", "**", "a", "b", "a/b", "*/k", "**/k", "**/x", "a/*", "x", "c/**", "**/b", "d"])


@settings(max_examples=150, deadline=None)
@given(TREES, st.lists(st.tuples(st.booleans(), TEXTS), min_size=1, max_size=5))
def test_a_directory_is_there_where_something_in_it_is(
    tmp_path_factory: pytest.TempPathFactory, files: set[str], patterns: list[tuple[bool, str]]
) -> None:
    place = write_tree(tmp_path_factory.mktemp("context"), [f"f {name} =1" for name in files])
    text = "\n".join("!" * includes + pattern for includes, pattern in patterns)
    excludes = IgnorePatterns.parse(text, file="x").excludes
    paths = {str(path.relative_to(place)) for path in place.rglob("*")}
    kept = {path for path in paths if not excludes(path)}
    shown = {path for path in paths if any(each == path or each.startswith(f"{path}/") for each in kept)}
    with ignoring(place, text) as tree:
        assert [line.split()[1] for line in show_tree(tree)] == sorted(shown, key=sort_key)
    with ignoring(place, text) as fresh:
        assert {path for path in paths if fresh.lookup(path) is not None} == shown
        for top in ("", "a", "c"):
            below = {path for path in paths if path.startswith(f"{top}/" if top else "")}
            assert fresh.excludes_below(top) == bool(below - kept)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A context whose path at the bottom is too long for a system call: `drop` and `keep` are there."""
    place = tmp_path / "deep"
    place.mkdir()
    at = os.open(place, os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    for name in ("keep", "drop"):
        with os.fdopen(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=at), "w") as file:
            file.write("bottom")
    os.close(at)
    yield place
    subprocess.run(["rm", "-rf", place], check=True)


def test_any_depth(deep: Path) -> None:
    bottom = "d/" * LEVELS
    for patterns, names in (
        ("*\n!**/keep", ["keep"]),
        ("d\n!**/nothing", []),
    ):
        with ignoring(deep, patterns) as tree:
            items = plan_copy(CopyRequest("/to/", (".",)), tree, EmptyTree())
            copied = [item.entry for item in items if item.entry.kind is Kind.FILE]
            assert [entry.path for entry in copied] == [f"to/{bottom}{name}" for name in names]
            assert len(items) == (LEVELS + 1 + len(names) if names else 1)
            assert tree.excludes_below("")
            with tree.open(f"{bottom}keep") as stream:
                assert stream.read() == b"bottom"


def test_a_name_that_is_too_long_is_not_there(tree: Tree) -> None:
    for path in ("n" * 5000, "d/" * 500 + "n" * 5000, "n" * 5000 + "/x"):
        assert tree.lookup(path) is None
        assert tree.children(path) == []


def test_a_link_to_an_ignored_file_leads_to_nothing(tmp_path: Path) -> None:
    place = write_tree(tmp_path / "context", ["f secret =1", "l l -> secret"])
    with ignoring(place, "secret") as tree:
        assert tree.lookup(tree.resolve("l")) is None


def test_without_openat2(tree: Tree, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seccomp profile older than the call answers EPERM."""

    def refused(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(syscalls, "openat2", refused)
    (place / "s").symlink_to("d")
    assert show_tree(tree) == ["d d 0700 5:6", "l d/l -> /d/x", "p d/p", "f d/x 0600 7:8 =1", "l s -> d"]
    assert tree.lookup("s/x") is None
    with pytest.raises(ContextError):
        tree.open("s/x")


def test_read_bounded(tree: Tree) -> None:
    assert read_bounded(tree, "d/l", 10) == b"1"
    assert read_bounded(tree, "d/p", 10) is None
    assert read_bounded(tree, "d", 10) is None
    with pytest.raises(ContextError, match="1 bytes, more than the 0"):
        read_bounded(tree, "d/x", 0)


def test_clean() -> None:
    assert clean("/a/./b//c/../d/") == "a/b/d"
    assert clean("../../a") == "a"
    assert clean("/") == ""


def test_empty_tree() -> None:
    tree = EmptyTree()
    assert tree.lookup("") is not None
    assert tree.lookup("a") is None
    assert (tree.children(""), tree.resolve("/a/"), tree.link_group("a")) == ([], "a", None)
    with pytest.raises(ContextError):
        tree.open("a")
