"""What a step mounts, moved into its place in a directory that stands in for `/`, and back."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from knarr.builder.roots.inplace.mounts import moved_in
from knarr.builder.roots.inplace.root import SharedRoot
from knarr.errors import IsolationError
from knarr.exec.spec import Mount
from knarr.progress import Event


class _Silent:
    def report(self, event: Event) -> None:
        pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("work", "above/er/kept", "dev", "proc"):
        (root / name).mkdir(parents=True)
    (root / "above/er/kept/file").write_text("mine")
    (root / "dev/null").write_text("")
    return root


@pytest.fixture
def shared(root: Path) -> Iterator[SharedRoot]:
    """The root with an image in it, whose file /a/old has a user's secret mounted over it in a step."""
    shared = SharedRoot(root / "work", [root / "above/er/kept"], _Silent(), root)

    def write(place: Path) -> None:
        (place / "a").mkdir()
        (place / "a/old").write_text("the image's")

    shared.extract(write)
    (root / "work/secret").write_text("hush")
    yield shared
    shared.restore()


def _mount(target: str, source: Path | None = None) -> Mount:
    return Mount(PurePosixPath(target), source)


@pytest.mark.parametrize("target", ["/above", "/above/er", "/above/er/kept", "/above/er/kept/new"])
def test_nothing_is_mounted_over_what_is_kept(shared: SharedRoot, root: Path, target: str) -> None:
    with pytest.raises(IsolationError, match="above/er/kept"), moved_in(shared, [_mount(target)]):
        pass
    assert (root / "above/er/kept/file").read_text() == "mine"


def test_a_device_is_not_replaced(shared: SharedRoot, root: Path) -> None:
    with pytest.raises(IsolationError, match="/dev/null there"), moved_in(shared, [_mount("/dev/null")]):
        pass
    with moved_in(shared, [_mount("/dev/new")]):
        assert (root / "dev/new").is_dir()
    assert os.listdir(root / "dev") == ["null"]


def _step_with_secret(shared: SharedRoot, change: Callable[[Path], None]) -> None:
    with moved_in(shared, [_mount("/a/old", shared.root / "work/secret")]):
        assert (shared.root / "a/old").read_text() == "hush"
        change(shared.root)


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
    shared: SharedRoot, root: Path, change: Callable[[Path], None]
) -> None:
    with pytest.raises(IsolationError, match="can't take away what a step had at /a/old"):
        _step_with_secret(shared, change)
    assert os.listdir(root / "above/er/kept") == ["file"]
    assert os.listdir(root / "b") == ["old"]
    shared.restore()
    assert not os.path.lexists(root / "b")


def test_all_is_where_it_was(shared: SharedRoot, root: Path) -> None:
    mounts = [_mount("/a/old", root / "work/secret"), _mount("/new/deep/memory")]
    with moved_in(shared, mounts):
        (root / "new/deep/memory/file").write_text("x")
    assert (root / "a/old").read_text() == "the image's"
    assert (root / "work/secret").read_text() == "hush"
    assert not (root / "new").exists()
