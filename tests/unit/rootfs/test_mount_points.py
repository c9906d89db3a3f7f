"""Mount points that an image lacks."""

import os
import stat
from pathlib import Path

import pytest

from knarr.errors import DockerfileError
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.mount_points import MountPoint, make_mount_point_layer, missing_mount_point, mount_points_in

DIRECTORY, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").touch()
    (tmp_path / "root/link").symlink_to("/etc")
    (tmp_path / "root/dangling").symlink_to("../../made/later")
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("target", "is_directory", "missing"),
    [
        ("/etc", True, []),
        ("/etc/passwd", False, []),
        ("/new", True, [MountPoint("new", DIRECTORY)]),
        ("/new/deep", False, [MountPoint("new", DIRECTORY), MountPoint("new/deep", FILE)]),
        ("/link/x", True, [MountPoint("etc/x", DIRECTORY)]),
        (
            "/dangling/x",
            True,
            [
                MountPoint("made", DIRECTORY),
                MountPoint("made/later", DIRECTORY),
                MountPoint("made/later/x", DIRECTORY),
            ],
        ),
    ],
)
def test_missing(root: Path, target: str, missing: list[MountPoint], is_directory: bool) -> None:  # noqa: FBT001
    descriptor = os.open(root, os.O_RDONLY)
    with DirTree(descriptor) as tree:
        assert missing_mount_point(tree, target, is_directory=is_directory) == missing
    os.close(descriptor)


@pytest.mark.parametrize(
    ("target", "is_directory"), [("/etc", False), ("/etc/passwd", True), ("/etc/passwd/x", True)]
)
def test_impossible(root: Path, target: str, is_directory: bool) -> None:  # noqa: FBT001
    descriptor = os.open(root, os.O_RDONLY)
    with DirTree(descriptor) as tree, pytest.raises(DockerfileError, match="can't mount at"):
        missing_mount_point(tree, target, is_directory=is_directory)
    os.close(descriptor)


def test_plain_directory_shows_nothing(root: Path) -> None:
    descriptor = os.open(root, os.O_RDONLY)
    before = Scan.take(descriptor)
    times = (root / "etc").stat().st_mtime_ns
    with mount_points_in(descriptor, [MountPoint("etc/x", DIRECTORY), MountPoint("etc/x/file", FILE)]):
        assert (root / "etc/x/file").is_file()
        assert (root / "proc").is_dir()
    assert changes(before, descriptor, Scan.take(descriptor)) == []
    assert (root / "etc").stat().st_mtime_ns == times
    os.close(descriptor)


def test_what_a_step_puts_in_place_of_a_mount_point_stays(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "x").mkdir(parents=True)
    (root / "other/x").mkdir(parents=True)
    descriptor = os.open(root, os.O_RDONLY)
    with mount_points_in(
        descriptor,
        [
            MountPoint("a", DIRECTORY),
            MountPoint("a/x", DIRECTORY),
            MountPoint("b", DIRECTORY),
            MountPoint("c", FILE),
        ],
    ):
        (root / "a").rename(root / "moved")
        (root / "a").symlink_to("other")
        (root / "b").rmdir()
        (root / "b").symlink_to(outside)
        (root / "c").write_text("kept")
    assert (root / "moved/x").is_dir()
    assert (root / "other/x").is_dir()
    assert (outside / "x").is_dir()
    assert (root / "c").read_text() == "kept"
    os.close(descriptor)


def test_layer_of_mount_points_looks_as_what_it_covers(root: Path, tmp_path: Path) -> None:
    (root / "etc").chmod(0o711)
    os.utime(root / "etc", ns=(1, 5_000_000_000))
    descriptor = os.open(root, os.O_RDONLY)
    with DirTree(descriptor) as tree:
        make_mount_point_layer(
            tmp_path / "layer", [MountPoint("etc/x", DIRECTORY), MountPoint("etc/x/f", FILE)], tree
        )
    os.close(descriptor)
    facts = (tmp_path / "layer/etc").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns) == (0o711, 5_000_000_000)
    assert stat.S_IMODE((tmp_path / "layer/etc/x").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "layer/etc/x/f").stat().st_mode) == 0o644
    assert not (tmp_path / "layer/etc/passwd").exists()
