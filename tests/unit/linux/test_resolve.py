import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knarr.linux.resolve import open_entry_in_root, open_in_root, walk_in_root

Opener = Callable[[int, str], int]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    inside = tmp_path / "root"
    (inside / "a/b").mkdir(parents=True)
    (inside / "outside").mkdir()
    (inside / "outside/file").write_text("inside")
    (inside / "a/b/file").write_text("deep")
    links = {
        "absolute": "/outside/file",
        "up": "../outside/file",
        "a/far-up": "../../../../../outside/file",
        "a/b/chain": "../far-up",
        "directory": "/a/../a/./b",
        "loop": "loop",
        "dangling": "/missing/file",
    }
    for name, target in links.items():
        (inside / name).symlink_to(target)
    descriptor = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def content(descriptor: int) -> str:
    with open(f"/proc/self/fd/{descriptor}") as stream:
        os.close(descriptor)
        return stream.read()


@pytest.fixture(params=[open_in_root, walk_in_root], ids=["openat2", "walk"])
def opener(request: pytest.FixtureRequest) -> Opener:
    chosen: Opener = request.param
    return chosen


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("outside/file", "inside"),
        ("/outside/file", "inside"),
        ("../outside/file", "inside"),
        ("a/../../../outside//file", "inside"),
        ("absolute", "inside"),
        ("up", "inside"),
        ("a/far-up", "inside"),
        ("a/b/chain", "inside"),
        ("directory/file", "deep"),
        ("directory/../b/file", "deep"),
    ],
)
def test_resolves_inside(root: int, opener: Opener, path: str, expected: str) -> None:
    assert content(opener(root, path)) == expected


@pytest.mark.parametrize("path", ["/", ".", "..", "a/../.."])
def test_the_root_itself(root: int, opener: Opener, path: str) -> None:
    descriptor = opener(root, path)
    assert os.path.sameopenfile(descriptor, root)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("missing", errno.ENOENT), ("dangling", errno.ENOENT), ("loop", errno.ELOOP)],
)
def test_refuses(root: int, opener: Opener, path: str, expected: int) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=os.strerror(expected)):
        opener(root, path)
    assert os.listdir("/proc/self/fd") == before


def test_magic_links_are_not_followed() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        open_in_root(root, f"proc/{os.getpid()}/root")
    os.close(root)


@pytest.mark.parametrize("path", ["loop", "dangling", "/a/far-up", "directory/chain"])
def test_the_entry_itself(root: int, path: str) -> None:
    descriptor = open_entry_in_root(root, path)
    assert os.readlink("", dir_fd=descriptor)
    os.close(descriptor)


_RENAMES = """
import os
print(flush=True)
while True:
    os.rename("moved", "again")
    os.rename("again", "moved")
"""


def test_renames_elsewhere_do_no_harm(tmp_path: Path) -> None:
    """The kernel gives up on `..` where anything on the machine was renamed meanwhile."""
    (tmp_path / "moved").touch()
    (tmp_path / "root/a").mkdir(parents=True)
    root = os.open(tmp_path / "root", os.O_PATH)
    command = [sys.executable, "-c", _RENAMES]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as renaming:
        assert renaming.stdout is not None
        renaming.stdout.readline()
        try:
            for _ in range(20_000):
                os.close(open_in_root(root, "a/../a/../a/../a/../a/../a/../a/.."))
        finally:
            renaming.kill()
            os.close(root)
