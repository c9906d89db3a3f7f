"""Real overlayfs mounts; as root, and in a user namespace of one id."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knarr.rootfs.changes.overlay_diff import diff_upper
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.dir_tree import DirTree
from support.trees import layer_tree, show_items, show_tree, with_items, write_tree

LOWER = ["d d 0700", "f d/x =1", "f d/y =2", "f e/f/g =3", "d empty", "f top =4", "l l -> top"]


class Overlay:
    """A mounted overlay over LOWER."""

    def __init__(self, place: Path) -> None:
        self.lower = write_tree(place / "lower", LOWER)
        self.upper, self.work, self.merged = place / "upper", place / "work", place / "merged"
        for directory in (self.upper, self.work, self.merged):
            directory.mkdir()

    def options(self) -> str:
        return f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work}"

    def diff(
        self,
        *,
        userxattr: bool = False,
        with_lower: bool = True,
        exclude: Callable[[str], bool] | None = None,
    ) -> list[str]:
        with self.opened() as (upper, lower):
            if not with_lower:
                return show_items(diff_upper(upper))
            return show_items(diff_upper(upper, lower=lower, userxattr=userxattr, exclude=exclude))

    @contextmanager
    def opened(self) -> Iterator[tuple[int, DirTree]]:
        upper, lower = os.open(self.upper, os.O_PATH), os.open(self.lower, os.O_PATH)
        try:
            with DirTree(lower) as tree:
                yield upper, tree
        finally:
            os.close(upper)
            os.close(lower)

    def tree(self, place: Path) -> list[str]:
        fd = os.open(place, os.O_PATH)
        try:
            with DirTree(fd) as tree:
                return show_tree(tree)
        finally:
            os.close(fd)


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    # The merged directory is unmounted whatever the test did to it.
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    overlay = Overlay(tmp_path)
    command = ["mount", "-t", "overlay", "overlay", "-o", overlay.options(), str(overlay.merged)]
    subprocess.run(command, check=True)
    yield overlay
    subprocess.run(["umount", overlay.merged], check=True)
    subprocess.run(["umount", tmp_path], check=True)


def replace_directory(path: Path) -> None:
    subprocess.run(["rm", "-r", path], check=True)
    path.mkdir(mode=0o700)
    (path / "n").write_text("5")


def replace_directories(merged: Path) -> None:
    subprocess.run(["rm", "-r", merged / "e"], check=True)
    (merged / "e/f").mkdir(parents=True)
    (merged / "e/n").write_text("5")


def come_and_go(merged: Path) -> None:
    (merged / "d/t").write_text("x")
    (merged / "d/t").unlink()


def file_to_directory(merged: Path) -> None:
    (merged / "top").unlink()
    (merged / "top").mkdir()


def make_hard_link(merged: Path) -> None:
    (merged / "a").write_text("1")
    (merged / "b").hardlink_to(merged / "a")


def move_and_delete(merged: Path) -> None:
    (merged / "e/f/g").rename(merged / "e/h")
    (merged / "l").unlink()


CHANGES: list[tuple[Callable[[Path], object], list[str]]] = [
    (lambda m: None, []),
    (lambda m: (m / "d/x").write_text("11"), ["d d 0700", "f d/x =11"]),
    (lambda m: (m / "d/x").chmod(0o600), ["d d 0700", "f d/x 0600 =1"]),
    (lambda m: (m / "d").chmod(0o750), ["d d 0750"]),
    (lambda m: (m / "d/x").unlink(), ["d d 0700", "f d/.wh.x ="]),
    (lambda m: subprocess.run(["rm", "-r", m / "e"], check=True), ["f .wh.e ="]),
    (lambda m: replace_directory(m / "d"), ["d d 0700", "f d/.wh.x =", "f d/.wh.y =", "f d/n =5"]),
    (replace_directories, ["d e", "d e/f", "f e/f/.wh.g =", "f e/n =5"]),
    (lambda m: (m / "empty/new").mkdir(), ["d empty", "d empty/new"]),
    (come_and_go, ["d d 0700"]),
    (lambda m: (m / "n").symlink_to("/x"), ["l n -> /x"]),
    (lambda m: os.mkfifo(m / "n"), ["p n"]),
    (file_to_directory, ["d top"]),
    (make_hard_link, ["f a =1", "h b -> a"]),
    (lambda m: os.setxattr(m / "top", "user.k", b"v"), ["f top =4"]),
    (
        move_and_delete,
        ["f .wh.l =", "d e", "d e/f", "f e/f/.wh.g =", "f e/h =3"],
    ),
]


@pytest.mark.root
@pytest.mark.parametrize(("change", "layer"), CHANGES)
def test_changes(
    change: Callable[[Path], object], layer: list[str], overlay: Overlay, tmp_path: Path
) -> None:
    change(overlay.merged)
    assert overlay.diff() == layer
    before = layer_tree(overlay.tree(overlay.lower), tmp_path)
    with overlay.opened() as (upper, lower):
        after = with_items(before, diff_upper(upper, lower=lower))
        assert show_tree(after) == overlay.tree(overlay.merged)


@pytest.mark.root
@pytest.mark.parametrize(("change", "layer"), CHANGES)
def test_a_scan_finds_the_same_in_the_same_order(
    change: Callable[[Path], object], layer: list[str], tmp_path: Path
) -> None:
    plain = write_tree(tmp_path / "plain", LOWER)
    root = os.open(plain, os.O_PATH)
    try:
        before = Scan.take(root)
        change(plain)
        assert show_items(changes(before, root, Scan.take(root))) == layer
    finally:
        os.close(root)


@pytest.mark.root
def test_without_the_lower_directory_everything_is_kept(overlay: Overlay) -> None:
    (overlay.merged / "d/t").write_text("x")
    (overlay.merged / "d/t").unlink()
    (overlay.merged / "new").mkdir()
    shown = overlay.diff(with_lower=False)
    assert shown[0] == "d d 0700"
    assert "d new" in shown


@pytest.mark.root
def test_excluded_paths(overlay: Overlay) -> None:
    (overlay.merged / "d/stub").write_text("")
    (overlay.merged / "e/f/keep").write_text("k")
    (overlay.merged / "e/f/stub").write_text("")
    assert overlay.diff(exclude=lambda path: path.endswith("stub")) == [
        "d d 0700",
        "d e",
        "d e/f",
        "f e/f/keep =k",
    ]


@pytest.mark.root
def test_attributes_of_overlayfs_are_not_in_the_layer(overlay: Overlay) -> None:
    replace_directory(overlay.merged / "d")
    upper = os.open(overlay.upper, os.O_PATH)
    try:
        for item in diff_upper(upper):
            assert dict(item.entry.xattrs) == {}
    finally:
        os.close(upper)
    assert "trusted.overlay.opaque" in os.listxattr(overlay.upper / "d")


@pytest.mark.root
def test_sockets_are_passed_over(overlay: Overlay) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(overlay.merged)
        server.bind("s")
        os.chdir("/")
    assert overlay.diff() == []


def test_whiteouts_by_attribute(tmp_path: Path) -> None:
    """How overlayfs in an overlay keeps a deletion, and some tools where nodes can't be made."""
    overlay = Overlay(tmp_path)
    (overlay.upper / "d").mkdir(mode=0o700)
    (overlay.upper / "d/x").write_bytes(b"")
    os.setxattr(overlay.upper / "d/x", "user.overlay.whiteout", b"y")
    os.setxattr(overlay.upper / "d", "user.overlay.opaque", b"x")
    assert overlay.diff(userxattr=True) == ["d d 0700", "f d/.wh.x ="]


IN_NAMESPACE = """
import os, subprocess, sys
merged, options = sys.argv[1:]
subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options + ",userxattr", merged], check=True)
subprocess.run(["rm", "-r", merged + "/d", merged + "/top"], check=True)
os.mkdir(merged + "/d", 0o700)
open(merged + "/d/n", "w").write("5")
"""


def test_in_a_user_namespace(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    # Attributes of root's files can't be read from a namespace where root is someone else.
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", IN_NAMESPACE]
    subprocess.run([*command, str(overlay.merged), overlay.options()], check=True)
    shown = overlay.diff(userxattr=True)
    assert shown == ["f .wh.top =", "d d 0700", "f d/.wh.x =", "f d/.wh.y =", "f d/n =5"]


def test_a_step_may_make_any_depth(overlay: Overlay) -> None:
    deep = "/".join(["deep", *["d"] * 1500])
    subprocess.run(["mkdir", "--parents", overlay.merged / deep], check=True)
    (overlay.merged / deep / "file").write_text("x")
    with overlay.opened() as (upper, lower):
        items = list(diff_upper(upper, lower=lower))
    assert items[-1].entry.path == f"{deep}/file"
    assert len(items) == 1502
