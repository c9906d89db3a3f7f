import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knarr.layers.entry import LayerItem
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.layer_tree import LayerTree
from support.trees import layer_tree, show_items, show_tree, with_items, write_tree

LINES = ["d d 0700", "f d/x =1", "f d/y =2", "l d/l -> x", "d e", "f e/f/g =3", "h e/h -> d/y", "f top =4"]


class Root:
    """A root directory with scans of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        self.scan = Scan.take(self.fd)

    def changed(self) -> list[LayerItem]:
        before, self.scan = self.scan, Scan.take(self.fd)
        return changes(before, self.fd, self.scan)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    root = Root(write_tree(tmp_path / "root", LINES))
    yield root
    os.close(root.fd)


def rewrite_in_place(path: Path) -> None:
    """The same size and mtime, other content."""
    status = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"9")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_directory(path: Path) -> None:
    """Another directory of the same look, holding a file with the same times."""
    other = path.with_name("other")
    os.mkdir(other, 0o700)
    for name in ("x", "y"):
        subprocess.run(["cp", "-a", path / name, other / name], check=True)
    (other / "l").symlink_to("x")
    subprocess.run(["rm", "-r", path], check=True)
    other.rename(path)


def come_and_go(path: Path) -> None:
    """Nothing of it is left but the time of its directory."""
    path.touch()
    path.unlink()


def to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "n").write_text("5")


def to_file(path: Path) -> None:
    subprocess.run(["rm", "-r", path], check=True)
    path.write_text("5")


@pytest.mark.parametrize(
    ("change", "layer"),
    [
        (lambda p: None, []),
        (lambda p: (p / "d/x").read_text(), []),
        (lambda p: (p / "d/x").write_text("11"), ["d d 0700", "f d/x =11"]),
        (lambda p: rewrite_in_place(p / "d/x"), ["d d 0700", "f d/x =9"]),
        (lambda p: (p / "d/x").chmod(0o600), ["d d 0700", "f d/x 0600 =1"]),
        (lambda p: (p / "d").chmod(0o750), ["d d 0750"]),
        (lambda p: os.setxattr(p / "e", "user.k", b"v"), ["d e"]),
        (lambda p: os.utime(p / "e/f", (1, 1)), ["d e", "d e/f"]),
        (lambda p: come_and_go(p / "d/new"), ["d d 0700"]),
        (lambda p: come_and_go(p / "new"), []),
        (lambda p: (p / "d/x").unlink(), ["d d 0700", "f d/.wh.x ="]),
        (lambda p: subprocess.run(["rm", "-r", p / "e"], check=True), ["f .wh.e =", "d d 0700", "f d/y =2"]),
        (lambda p: (p / "e/n").mkdir(), ["d e", "d e/n"]),
        (lambda p: (p / "e/f").rename(p / "e/r"), ["d e", "f e/.wh.f =", "d e/r", "f e/r/g =3"]),
        (lambda p: (p / "n").symlink_to("/x"), ["l n -> /x"]),
        (lambda p: os.mkfifo(p / "n"), ["p n"]),
        (lambda p: to_directory(p / "top"), ["d top", "f top/n =5"]),
        (lambda p: to_file(p / "e"), ["d d 0700", "f d/y =2", "f e =5"]),
        (lambda p: (p / "z").hardlink_to(p / "top"), ["f top =4", "h z -> top"]),
        (lambda p: (p / "d/y").chmod(0o600), ["d d 0700", "f d/y 0600 =2", "d e", "h e/h -> d/y"]),
        (
            lambda p: replace_directory(p / "d"),
            ["d d 0700", "l d/l -> x", "f d/x =1", "f d/y =2", "d e", "f e/h =2"],
        ),
    ],
)
def test_changes(change: Callable[[Path], object], layer: list[str], root: Root) -> None:
    change(root.path)
    assert show_items(root.changed()) == layer
    assert root.changed() == []


def test_a_change_in_the_tick_of_the_scan(tmp_path: Path) -> None:
    root = Root(write_tree(tmp_path / "root", ["f a =0"]))
    for number in range(1, 10):
        (root.path / "a").write_text(str(number))
        assert show_items(root.changed()) == [f"f a ={number}"]


def test_a_ctime_in_the_future(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back: files are newer than now, so they are hashed and not waited for."""
    long_ago = time.clock_gettime_ns(time.CLOCK_REALTIME) - 3_600_000_000_000
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: long_ago)
    begun = time.monotonic()
    scan = Scan.take(root.fd)
    assert time.monotonic() - begun < 1
    assert set(scan.digests) == {"d/x", "d/y", "e/f/g", "e/h", "top"}


def test_with_content(root: Root) -> None:
    before = Scan.take(root.fd, hash_content=True)
    assert set(before.digests) == {"d/x", "d/y", "e/f/g", "e/h", "top"}
    stale = Scan(before.directories, dict.fromkeys(before.digests, b"other"), before.xattrs)
    assert changes(before, root.fd, Scan.take(root.fd)) == []
    assert len(changes(stale, root.fd, Scan.take(root.fd))) == 8


def test_excluded_paths(root: Root) -> None:
    def exclude(path: str) -> bool:
        return path in ("d", "new")

    before = Scan.take(root.fd, exclude=exclude)
    (root.path / "d/x").write_text("11")
    (root.path / "new").mkdir()
    (root.path / "new/n").write_text("1")
    (root.path / "seen").write_text("1")
    assert show_items(changes(before, root.fd, Scan.take(root.fd, exclude=exclude))) == ["f seen =1"]


@pytest.mark.root
def test_mount_points_are_not_entered(root: Root) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", root.path / "e"], check=True)
    try:
        root.changed()
        (root.path / "e/inside").write_text("1")
        assert root.changed() == []
    finally:
        subprocess.run(["umount", root.path / "e"], check=True)


def test_the_layer_leads_from_the_old_root_to_the_new(root: Root, tmp_path: Path) -> None:
    before = show_tree(DirTree(root.fd))
    old = layer_tree(before, tmp_path)
    rewrite_in_place(root.path / "d/x")
    subprocess.run(["rm", "-r", root.path / "e/f"], check=True)
    to_directory(root.path / "top")
    (root.path / "d").rename(root.path / "moved")
    new: LayerTree = with_items(old, root.changed())
    assert show_tree(new) == show_tree(DirTree(root.fd))
    assert show_tree(old) == before


def test_a_socket_is_passed_over(root: Root) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(root.path)
        server.bind("s")
        os.chdir("/")
    assert root.changed() == []
