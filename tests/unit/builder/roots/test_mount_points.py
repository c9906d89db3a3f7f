"""Mount points that an image lacks."""

import os
import stat
from pathlib import Path

import pytest

from knarr.builder.roots.mount_points import make_stub_layer, missing_mount_point, stubs_in
from knarr.errors import DockerfileError
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.scan import Scan, changes

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
        ("/new", True, [("new", DIRECTORY)]),
        ("/new/deep", False, [("new", DIRECTORY), ("new/deep", FILE)]),
        ("/link/x", True, [("etc/x", DIRECTORY)]),
        ("/dangling/x", True, [("made", DIRECTORY), ("made/later", DIRECTORY), ("made/later/x", DIRECTORY)]),
    ],
)
def test_missing(root: Path, target: str, missing: list[tuple[str, int]], is_directory: bool) -> None:  # noqa: FBT001
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
    with stubs_in(descriptor, [("etc/x", DIRECTORY), ("etc/x/file", FILE)]):
        assert (root / "etc/x/file").is_file()
        assert (root / "proc").is_dir()
    assert changes(before, descriptor, Scan.take(descriptor)) == []
    assert (root / "etc").stat().st_mtime_ns == times
    os.close(descriptor)


def test_what_a_step_puts_in_place_of_a_stub_stays(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "x").mkdir(parents=True)
    (root / "other/x").mkdir(parents=True)
    descriptor = os.open(root, os.O_RDONLY)
    with stubs_in(descriptor, [("a", DIRECTORY), ("a/x", DIRECTORY), ("b", DIRECTORY), ("c", FILE)]):
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


def test_layer_of_stubs_looks_as_what_it_covers(root: Path, tmp_path: Path) -> None:
    (root / "etc").chmod(0o711)
    os.utime(root / "etc", ns=(1, 5_000_000_000))
    descriptor = os.open(root, os.O_RDONLY)
    with DirTree(descriptor) as tree:
        make_stub_layer(tmp_path / "layer", [("etc/x", DIRECTORY), ("etc/x/f", FILE)], tree)
    os.close(descriptor)
    facts = (tmp_path / "layer/etc").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns) == (0o711, 5_000_000_000)
    assert stat.S_IMODE((tmp_path / "layer/etc/x").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "layer/etc/x/f").stat().st_mode) == 0o644
    assert not (tmp_path / "layer/etc/passwd").exists()
