import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from knarr.errors import ContextError
from knarr.layers.entry import Entry, Kind
from knarr.linux.resolve import MAX_LINKS, open_in_root, resolve_in_root, walk_in_root
from knarr.rootfs.tree import resolve_links

ENTRY = os.O_PATH | os.O_NOFOLLOW


class Opener(Protocol):
    def __call__(self, root: int, path: str, flags: int = ..., *, follow_links: bool = ...) -> int: ...


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


def refused_with(opener: Opener, root: int, path: str, flags: int, *, follow_links: bool = True) -> int:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        os.close(opener(root, path, flags, follow_links=follow_links))
    return caught.value.errno or 0


@pytest.mark.parametrize("path", ["absolute", "up", "directory", "directory/file", "a/b/chain", "loop"])
def test_a_refused_link_is_an_error(root: int, opener: Opener, path: str) -> None:
    assert refused_with(opener, root, path, os.O_PATH, follow_links=False) == errno.ELOOP


@pytest.mark.parametrize("path", ["outside/file", "a/../a/b/file", "a/b", "."])
def test_no_link_is_none_to_refuse(root: int, opener: Opener, path: str) -> None:
    os.close(opener(root, path, os.O_PATH, follow_links=False))


@pytest.mark.parametrize("path", ["outside/file/", "outside/file/.", "absolute/", "absolute/..", "up/x"])
def test_nothing_is_below_a_file(root: int, opener: Opener, path: str) -> None:
    assert refused_with(opener, root, path, os.O_PATH) == errno.ENOTDIR


@pytest.mark.parametrize("path", ["outside/file", "absolute", "up"])
def test_a_file_is_no_directory(root: int, opener: Opener, path: str) -> None:
    assert refused_with(opener, root, path, os.O_PATH | os.O_DIRECTORY) == errno.ENOTDIR


def test_flags_are_those_of_the_result(root: int, opener: Opener) -> None:
    assert content(opener(root, "absolute", os.O_RDONLY)) == "inside"
    descriptor = opener(root, "directory", os.O_RDONLY | os.O_DIRECTORY)
    assert sorted(os.listdir(descriptor)) == ["chain", "file"]
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("path", ["loop", "dangling", "/a/far-up", "directory/chain"])
def test_the_entry_itself(root: int, opener: Opener, path: str) -> None:
    descriptor = opener(root, path, ENTRY)
    assert os.readlink("", dir_fd=descriptor)
    os.close(descriptor)
    assert refused_with(opener, root, path, os.O_RDONLY | os.O_NOFOLLOW) == errno.ELOOP


def test_magic_links_are_not_followed(opener: Opener) -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    for path in (f"proc/{os.getpid()}/root", "proc/self/cwd", f"proc/{os.getpid()}/fd/{root}"):
        assert refused_with(opener, root, path, os.O_PATH) == errno.ELOOP
    os.close(opener(root, "proc/self/status"))
    os.close(root)


def test_a_magic_link_is_its_text_where_directories_are_looked_up() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    descriptor, path = resolve_in_root(root, "proc/self/root/proc")
    assert path == "proc"
    assert os.fstat(descriptor).st_ino == os.stat("/proc").st_ino
    os.close(descriptor)
    os.close(root)


def test_a_nul_is_refused(root: int) -> None:
    with pytest.raises(ValueError, match="null byte"):
        open_in_root(root, "outside\0/nothing")
    with pytest.raises(ValueError, match="null byte"):
        resolve_in_root(root, "outside\0/nothing")


def test_all_follow_as_many_links(tmp_path: Path, opener: Opener) -> None:
    """The kernel by itself follows 40; an index of a layer has no kernel to ask."""
    (tmp_path / "end").mkdir()
    for number in range(MAX_LINKS + 1):
        (tmp_path / f"l{number}").symlink_to(f"l{number + 1}" if number < MAX_LINKS else "end")
    root = os.open(tmp_path, os.O_PATH)

    def lookup(path: str) -> Entry | None:
        if path == "end":
            return Entry(path, Kind.DIRECTORY, 0o755)
        return Entry(path, Kind.SYMLINK, 0o777, link_target=os.readlink(tmp_path / path))

    for first in ("l230", "l1"):
        os.close(opener(root, first))
        descriptor, path = resolve_in_root(root, first)
        os.close(descriptor)
        assert path == resolve_links(lookup, first) == "end"
    assert refused_with(opener, root, "l0", os.O_PATH) == errno.ELOOP
    with pytest.raises(OSError, match="Too many levels"):
        resolve_in_root(root, "l0")
    with pytest.raises(ContextError, match="255"):
        resolve_links(lookup, "l0")
    os.close(root)


def test_a_path_that_no_call_takes(root: int, opener: Opener) -> None:
    assert refused_with(opener, root, "a/../" * 820, os.O_PATH) == errno.ENAMETOOLONG


def test_what_is_missing_is_made_where_links_lead(root: int) -> None:
    made = []

    def make(directory: int, name: str, path: str) -> None:
        made.append(path)
        os.mkdir(name, dir_fd=directory)

    descriptor, path = resolve_in_root(root, "directory/../new/x", make_missing=make)
    os.close(descriptor)
    assert (path, made) == ("a/new/x", ["a/new", "a/new/x"])


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
