"""What a step mounts, moved into its place in a directory that stands in for `/`, and back."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

import pytest

from knarr.builder.roots.backend import StepCommand
from knarr.builder.roots.inplace.container import Container
from knarr.builder.roots.inplace.mounts import beside_devices, moved_in
from knarr.errors import IsolationError
from knarr.exec.spec import RootMount
from knarr.progress import Silent
from knarr.rootfs.unpacking.protection import Protection
from knarr.rootfs.users import UserSpec

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("work", "above/er/kept", "dev", "proc"):
        (root / name).mkdir(parents=True)
    (root / "above/er/kept/file").write_text("mine")
    (root / "dev/null").write_text("")
    return root


class Emptied:
    """The root with an image in it, whose file /a/old has a user's secret mounted over it in a step."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.container = Container(root, root / "work", [root / "above/er/kept"], Silent())
        self.protection: Protection = self.container.make_room()
        (root / "a").mkdir()
        (root / "a/old").write_text("the image's")
        (root / "work/secret").write_text("hush")

    def mounted(self, *mounts: RootMount) -> AbstractContextManager[frozenset[str]]:
        return moved_in(self.root, mounts, self.protection, self.root / "work/aside")


@pytest.fixture
def emptied(root: Path) -> Iterator[Emptied]:
    emptied = Emptied(root)
    yield emptied
    emptied.container.restore()


def _mount(target: str, source: Path | None = None) -> RootMount:
    return RootMount(PurePosixPath(target), source)


@pytest.mark.parametrize("target", ["/above", "/above/er", "/above/er/kept", "/above/er/kept/new"])
def test_nothing_is_mounted_over_what_is_kept(emptied: Emptied, root: Path, target: str) -> None:
    with pytest.raises(IsolationError, match="above/er/kept"), emptied.mounted(_mount(target)):
        pass
    assert (root / "above/er/kept/file").read_text() == "mine"


def test_a_device_is_not_replaced(emptied: Emptied, root: Path) -> None:
    with pytest.raises(IsolationError, match="/dev/null there"), emptied.mounted(_mount("/dev/null")):
        pass
    with emptied.mounted(_mount("/dev/new")):
        assert (root / "dev/new").is_dir()
    assert os.listdir(root / "dev") == ["null"]


def _step_with_secret(emptied: Emptied, change: Callable[[Path], None]) -> None:
    with emptied.mounted(_mount("/a/old", emptied.root / "work/secret")):
        assert (emptied.root / "a/old").read_text() == "hush"
        change(emptied.root)


def _replace_by_link(root: Path) -> None:
    (root / "a").rename(root / "b")
    (root / "a").symlink_to(root / "above/er/kept")


def _replace_by_directory_elsewhere(root: Path) -> None:
    (root / "a").rename(root / "b")
    (root / "a").symlink_to("b")


def _replace_by_file(root: Path) -> None:
    (root / "a").rename(root / "b")
    (root / "a").write_text("x")


def _remove(root: Path) -> None:
    (root / "a").rename(root / "b")


@pytest.mark.parametrize(
    "change", [_replace_by_link, _replace_by_directory_elsewhere, _replace_by_file, _remove]
)
def test_a_step_that_replaces_a_directory_above_sends_nothing_elsewhere(
    emptied: Emptied, root: Path, change: Callable[[Path], None]
) -> None:
    with pytest.raises(IsolationError, match="can't take away what a step had at /a/old"):
        _step_with_secret(emptied, change)
    assert os.listdir(root / "above/er/kept") == ["file"]
    assert os.listdir(root / "b") == ["old"]
    emptied.container.restore()
    assert not os.path.lexists(root / "b")


def test_all_is_where_it_was(emptied: Emptied, root: Path) -> None:
    mounts = [_mount("/a/old", root / "work/secret"), _mount("/new/deep/memory")]
    with emptied.mounted(*mounts) as covered:
        assert covered == {"a/old", "new/deep/memory"}
        (root / "new/deep/memory/file").write_text("x")
    assert (root / "a/old").read_text() == "the image's"
    assert (root / "work/secret").read_text() == "hush"
    assert not (root / "new").exists()


def _script_command(root: Path) -> StepCommand:
    script = root / "work/script"
    script.write_text("#!/bin/sh\necho $0\n")
    script.chmod(0o755)
    mounts = (_mount("/dev/pipes/EOF", script), _mount("/dev/pipes2/EOF", script))
    return StepCommand(("/bin/sh", "-c", "/dev/pipes/EOF"), {}, "/", UserSpec(0, 0, (), "/"), mounts=mounts)


def test_a_script_is_in_dev_where_it_can_be_executed(root: Path) -> None:
    command = _script_command(root)
    assert beside_devices(root, command) == command
    (root / "dev/null").unlink()
    (root / "dev").rmdir()
    assert beside_devices(root, command) == command


def test_a_script_goes_elsewhere_where_nothing_in_dev_can_be_executed(emptied: Emptied, root: Path) -> None:
    """As podman mounts /dev."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", root / "dev"], check=True)
    try:
        command = beside_devices(root, _script_command(root))
        assert command.argv == ("/bin/sh", "-c", "/.heredoc-EOF")
        assert [str(mount.target) for mount in command.mounts] == ["/.heredoc-EOF", "/dev/pipes2/EOF"]
        before = (sorted(os.listdir(root)), root.stat().st_mtime_ns)
        with emptied.mounted(command.mounts[0]) as covered:
            result = subprocess.run([root / ".heredoc-EOF"], check=True, capture_output=True, text=True)
            assert result.stdout.endswith("/.heredoc-EOF\n")
            assert covered == {".heredoc-EOF"}
        assert (sorted(os.listdir(root)), root.stat().st_mtime_ns) == before
    finally:
        subprocess.run(["umount", root / "dev"], check=True)
