from pathlib import Path

import pytest

from knarr.errors import ContextError
from knarr.rootfs.layer_tree import LayerTree
from knarr.rootfs.users import NamedOwner, UserSpec, read_user_databases, resolve_chown, resolve_user
from support.trees import layer_tree, write_tree

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# a remark
app:x:1000:1001:App:/home/app:/bin/sh

broken:x:notanumber:0::/:
short:x
huge:x:4294967296:0::/:
nohome:x:5:6
1234:x:77:78::/odd:
app:x:2000:2000::/second:
"""
GROUP = """\
root:x:0:root
wheel:x:10:root,app
app:x:1001:
docker:x:990:app
nobody:x:65534
bad:x:x:app
"""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", UserSpec(0, 0, (0, 10), "/root")),
        ("root", UserSpec(0, 0, (0, 10), "/root")),
        ("0", UserSpec(0, 0, (0, 10), "/root")),
        ("app", UserSpec(1000, 1001, (10, 990), "/home/app")),
        ("1000", UserSpec(1000, 1001, (10, 990), "/home/app")),
        ("app:wheel", UserSpec(1000, 10, (), "/home/app")),
        ("app:4321", UserSpec(1000, 4321, (), "/home/app")),
        ("1000:1000", UserSpec(1000, 1000, (), "/home/app")),
        ("4321", UserSpec(4321, 0, (), "/")),
        ("4321:5", UserSpec(4321, 5, (), "/")),
        ("4321:docker", UserSpec(4321, 990, (), "/")),
        ("1234", UserSpec(1234, 0, (), "/")),
        ("nohome", UserSpec(5, 6, (), "/")),
        (":wheel", UserSpec(0, 10, (), "/root")),
        ("app:", UserSpec(1000, 1001, (10, 990), "/home/app")),
        ("app:wheel:x", UserSpec(1000, 10, (), "/home/app")),
        ("root:root", UserSpec(0, 0, (), "/root")),
        ("00", UserSpec(0, 0, (0, 10), "/root")),
        ("00:00", UserSpec(0, 0, (), "/root")),
        ("broken", UserSpec(0, 0, (), "/")),
        ("short", UserSpec(0, 0, (), "/")),
        ("huge", UserSpec(0, 0, (), "/")),
        ("app:bad", UserSpec(1000, 0, (), "/home/app")),
        ("2147483647", UserSpec(2147483647, 0, (), "/")),
    ],
)
def test_user_of_a_run_step(spec: str, expected: UserSpec) -> None:
    assert resolve_user(spec, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    "spec",
    ["nobody", "app:none", "-1", "2147483648", "99999999999999", "0:-1", "2147483648:0", "#"],
)
def test_user_that_is_none(spec: str) -> None:
    with pytest.raises(ContextError):
        resolve_user(spec, PASSWD, GROUP)


def test_user_without_files() -> None:
    assert resolve_user("", None, None) == UserSpec(0, 0, (), "/")
    assert resolve_user("7:8", None, None) == UserSpec(7, 8, (), "/")
    for root in ("root", "root:", "root:root", "root:0", "0:root", "0", "00", ":root"):
        assert resolve_user(root, None, None) == UserSpec(0, 0, (), "/")
    assert resolve_user("7:root", None, None) == UserSpec(7, 0, (), "/")
    with pytest.raises(ContextError, match="no user 'app'"):
        resolve_user("app", None, None)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("root", (0, 0)),
        ("root:root", (0, 0)),
        ("7", (7, 7)),
        ("7:8", (7, 8)),
        ("7:root", (7, 0)),
        ("7:wheel", (7, 10)),
        ("app", (1000, 1001)),
        ("app:", (1000, 0)),
        (":", (0, 0)),
        ("7:", (7, 0)),
        ("00", (0, 0)),
        ("+7", (7, 7)),
        ("-1", (0, 0)),
        ("-1:5", (0, 5)),
        ("-2", (2**32 - 2, 2**32 - 2)),
        ("app:-1", (1000, 0)),
        ("broken", (0, 0)),
        ("app:bad", (1000, 0)),
        ("1234", (1234, 1234)),
        ("app:wheel", (1000, 10)),
        ("app:5", (1000, 5)),
        ("", (0, 0)),
        (":5", (0, 5)),
        (":wheel", (0, 10)),
    ],
)
def test_chown(spec: str, expected: tuple[int, int]) -> None:
    assert resolve_chown(spec, PASSWD, GROUP) == NamedOwner(*expected)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("who", NamedOwner(0, 0, ("user who",))),
        ("app:who", NamedOwner(1000, 1001, ("group who",))),
        ("who:who", NamedOwner(0, 0, ("user who", "group who"))),
        ("7:who", NamedOwner(7, 7, ("group who",))),
        ("99999999999", NamedOwner(0, 0, ("user 99999999999",))),
        ("2147483648", NamedOwner(0, 0, ("user 2147483648",))),
        ("app:2147483648", NamedOwner(1000, 1001, ("group 2147483648",))),
        ("5:b:c", NamedOwner(5, 5, ("group b:c",))),
    ],
)
def test_chown_to_names_that_no_file_has(spec: str, expected: NamedOwner) -> None:
    assert resolve_chown(spec, PASSWD, GROUP) == expected


def test_root_needs_no_files() -> None:
    assert resolve_chown("root:root", None, None) == NamedOwner(0, 0)


def test_files_are_found_through_links_inside_the_root(tmp_path: Path) -> None:
    lines = ["l etc/passwd -> ../../../usr/passwd", "f usr/passwd =a:x:1:2", "l etc/group -> /nowhere"]
    assert read_user_databases(layer_tree(lines, tmp_path)) == ("a:x:1:2", None)


@pytest.mark.parametrize("line", ["p etc/passwd", "d etc/passwd", "l etc/passwd -> passwd"])
def test_what_is_no_file_is_not_opened(line: str, tmp_path: Path) -> None:
    tree = layer_tree([line], tmp_path)
    if line.startswith("l"):
        with pytest.raises(ContextError, match="255"):
            read_user_databases(tree)
    else:
        assert read_user_databases(tree) == (None, None)


def test_fifo_on_disk_is_not_opened(tmp_path: Path) -> None:
    import os

    from knarr.rootfs.dir_tree import DirTree

    fd = os.open(write_tree(tmp_path / "root", ["p etc/passwd", "f etc/group =g:x:3:"]), os.O_RDONLY)
    try:
        assert read_user_databases(DirTree(fd)) == (None, "g:x:3:")
    finally:
        os.close(fd)


def test_large_file_is_refused(tmp_path: Path) -> None:
    tree: LayerTree = layer_tree(["f etc/passwd =" + "x" * (10 * 1024 * 1024 + 1)], tmp_path)
    with pytest.raises(ContextError, match="10485761 bytes"):
        read_user_databases(tree)
