"""The sources of binds: held where they are mounted, copied where nothing can be."""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from knarr.builder.mounts.bind_mounts import BindSources
from knarr.errors import ContextError
from support.fake_backend import PLAIN
from support.mounted import mounted_below

MOUNTING = replace(PLAIN, can_mount=True, overlay_userxattr=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub/file").write_text("x")
    (directory / "link").symlink_to("/sub")
    (directory / "out").symlink_to("../../../../../etc/passwd")
    (tmp_path / "place").mkdir()
    return directory


@pytest.fixture
def exits(tmp_path: Path) -> Iterator[ExitStack]:
    """Nothing stays mounted after a test."""
    with ExitStack() as exits:
        yield exits
    assert mounted_below(tmp_path) == set()


@pytest.fixture(params=["copied", pytest.param("mounted", marks=pytest.mark.root)])
def sources(request: pytest.FixtureRequest, directory: Path, exits: ExitStack) -> BindSources:
    abilities = PLAIN if request.param == "copied" else MOUNTING
    return BindSources(directory.parent / "place", exits, abilities)


def test_links_are_followed_inside_the_source(sources: BindSources, directory: Path) -> None:
    held = sources.hold(directory, "link", "the build context")
    assert (held / "file").read_text() == "x"
    assert sources.hold(directory, "sub/file", "the build context").read_text() == "x"


@pytest.mark.parametrize("path", ["absent", "out", "sub/file/below"])
def test_what_is_missing_is_named(sources: BindSources, directory: Path, path: str) -> None:
    with pytest.raises(ContextError, match=f"the source of a mount, {path} of stage base, can't be found"):
        sources.hold(directory, path, "stage base")


def test_what_a_step_writes_is_not_in_the_source(sources: BindSources, directory: Path) -> None:
    writable = sources.writable(sources.hold(directory, "sub", "the build context"))
    (writable / "file").write_text("changed")
    (writable / "new").touch()
    assert (directory / "sub/file").read_text() == "x"
    assert os.listdir(directory / "sub") == ["file"]
    other = sources.hold(directory, "sub", "the build context")
    assert os.listdir(other) == ["file"]


@pytest.mark.root
def test_what_is_mounted_is_read_only(directory: Path, exits: ExitStack) -> None:
    sources = BindSources(directory.parent / "place", exits, MOUNTING)
    held = sources.hold(directory, "sub", "the build context")
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        (held / "new").touch()


@pytest.mark.root
def test_without_overlayfs_a_writable_bind_is_a_copy(directory: Path, exits: ExitStack) -> None:
    sources = BindSources(directory.parent / "place", exits, replace(MOUNTING, overlay_userxattr=None))
    held = sources.hold(directory, "sub", "the build context")
    before = mounted_below(directory.parent)
    (sources.writable(held) / "file").write_text("changed")
    assert mounted_below(directory.parent) == before
    assert (held / "file").read_text() == "x"


def test_a_copy_is_the_callers(sources: BindSources, directory: Path, tmp_path: Path) -> None:
    held = sources.hold(directory, "sub", "the build context")
    assert sources.copy(held, tmp_path / "copy") == tmp_path / "copy"
    assert (tmp_path / "copy/file").read_text() == "x"
