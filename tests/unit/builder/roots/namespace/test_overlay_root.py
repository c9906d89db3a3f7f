"""A stack of overlayfs directories for a stage: the upper directory is what a step changed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.builder.roots.namespace.overlay_root import OverlayRoot
from knarr.rootfs.mount_points import MountPoint
from knarr.rootfs.unpacking.unpack import OwnerPolicy
from support.fillers import files, filler
from support.image_layout import Member
from support.mounted import mounted_below
from support.trees import show_items

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[OverlayRoot]:
    """Nothing stays mounted after a test."""
    image = filler([Member("etc/passwd", content=b"root"), Member("gone", content=b"x")])
    root = OverlayRoot.extract(tmp_path / "place", image, owner_policy=OwnerPolicy.KEEP, userxattr=False)
    yield root
    root.close()
    assert mounted_below(tmp_path) == set()


def _step(at: Path) -> None:
    assert (at / "proc").is_dir()
    (at / "gone").unlink()
    (at / "made").write_text("x")


def test_a_step_gives_what_it_changed(root: OverlayRoot) -> None:
    assert sorted(show_items(root.run(_step))) == ["f .wh.gone =", "f made =x"]
    assert root.tree().children("") == ["etc", "made"]
    assert root.run(lambda _: None) == []


def test_the_directory_shows_what_is_there_now(root: OverlayRoot) -> None:
    assert sorted(os.listdir(root.directory())) == ["etc", "gone"]
    root.run(_step)
    assert sorted(os.listdir(root.directory())) == ["etc", "made"]
    root.apply(files("more"))
    assert sorted(os.listdir(root.directory())) == ["etc", "made", "more"]


def test_the_root_directory_keeps_its_metadata(root: OverlayRoot) -> None:
    seen: list[int] = []
    (root.directory()).chmod(0o711)
    root.run(lambda at: seen.append(at.stat().st_mode & 0o777))
    assert seen == [0o711]


def test_mount_points_never_show(root: OverlayRoot) -> None:
    points = [MountPoint("new", 0o40755), MountPoint("new/file", 0o100644)]
    assert root.run(lambda at: os.utime(at / "new/file", (1, 1)), points) == []
    used = root.run(lambda at: (at / "new/more").touch(), points)
    assert show_items(used) == ["d new", "f new/more ="]


def test_a_child_and_its_parent_go_on_apart(root: OverlayRoot, tmp_path: Path) -> None:
    root.run(_step)
    child = root.child(tmp_path / "child")
    try:
        child.run(lambda at: (at / "childs").touch())
        root.run(lambda at: (at / "parents").touch())
        assert child.tree().children("") == ["childs", "etc", "made"]
        assert root.tree().children("") == ["etc", "made", "parents"]
    finally:
        child.close()


def test_a_step_that_fails_leaves_nothing_mounted(root: OverlayRoot, tmp_path: Path) -> None:

    def fail(_: Path) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        root.run(fail)
    assert mounted_below(tmp_path) == set()


@pytest.mark.slow
def test_more_steps_than_the_kernel_stacks(root: OverlayRoot, tmp_path: Path) -> None:
    for number in range(505):
        root.apply(files(f"made{number}"))
    gone = root.run(lambda at: (at / "made7").unlink())
    assert show_items(gone) == ["f .wh.made7 ="]
    names = set(root.tree().children(""))
    assert names == {"etc", "gone", *(f"made{number}" for number in range(505))} - {"made7"}
    child = root.child(tmp_path / "child")
    try:
        assert show_items(child.run(lambda at: (at / "made8").unlink())) == ["f .wh.made8 ="]
    finally:
        child.close()
