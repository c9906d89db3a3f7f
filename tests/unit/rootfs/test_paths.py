import ctypes
import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knarr.rootfs.paths import (
    DirectoryCache,
    Fate,
    clear_directory,
    discard_tree,
    make_directories,
    open_parent,
    remove_tree,
    resolve_directory,
)

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2


class Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction)))


def forbid_openat2(code: int) -> None:
    """Let openat2 fail in this thread, as on an old kernel or under an old seccomp profile."""
    instructions = (Instruction * 4)(
        Instruction(0x20, 0, 0, 0),
        Instruction(0x15, 0, 1, 437),
        Instruction(0x06, 0, 0, 0x00050000 | code),
        Instruction(0x06, 0, 0, 0x7FFF0000),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    program = Program(4, instructions)
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0


Run = Callable[[Callable[[], None]], None]


def run_without_openat2(code: int, work: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def body() -> None:
        forbid_openat2(code)
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(params=["openat2", "ENOSYS", "EPERM"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs with the system call, and without it in both ways that it can be missing."""
    if request.param == "openat2":
        return lambda work: work()
    code: int = getattr(errno, request.param)
    return lambda work: run_without_openat2(code, work)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "a" / "file").write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_bytes(b"alive")
    for name, target in {
        "rel": "a/b",
        "abs": "/a/b",
        "up": "../../../../a",
        "updown": "a/../a/./b/../b",
        "chain": "rel",
        "chain2": "a/../chain",
        "out": str(tmp_path / "outside"),
        "out2": "../outside",
        "loop": "loop",
        "ping": "pong",
        "pong": "ping",
        "dangling": "new/dir",
        "slash": "/",
        "tofile": "a/file",
        "a/back": "../a/b/c",
    }.items():
        (root / name).symlink_to(target)
    return root


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("", ""),
        ("a/b", "a/b"),
        ("rel", "a/b"),
        ("abs/c", "a/b/c"),
        ("up/b", "a/b"),
        ("updown", "a/b"),
        ("chain2/c", "a/b/c"),
        ("slash/slash/a", "a"),
        ("a/back", "a/b/c"),
        ("./a//b/.", "a/b"),
        ("a/../a", "a"),
        ("../../a", "a"),
    ],
)
def test_resolves_within_the_root(run: Run, root: Path, root_fd: int, path: str, resolved: str) -> None:
    def work() -> None:
        directory = resolve_directory(root_fd, path)
        assert directory.path == resolved
        assert os.fstat(directory.fd).st_ino == (root / resolved).stat().st_ino
        os.close(directory.fd)

    run(work)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("missing", errno.ENOENT),
        ("dangling", errno.ENOENT),
        ("out", errno.ENOENT),
        ("out2", errno.ENOENT),
        ("a/file", errno.ENOTDIR),
        ("a/file/x", errno.ENOTDIR),
        ("tofile/x", errno.ENOTDIR),
        ("loop", errno.ELOOP),
        ("ping/x", errno.ELOOP),
        ("n" * 256, errno.ENAMETOOLONG),
    ],
)
def test_fails_as_the_kernel_would(run: Run, root_fd: int, path: str, code: int) -> None:
    def work() -> None:
        with pytest.raises(OSError) as caught:  # noqa: PT011
            resolve_directory(root_fd, path)
        assert caught.value.errno == code

    run(work)


def test_refuses_a_nul(root_fd: int) -> None:
    with pytest.raises(ValueError, match="null byte"):
        resolve_directory(root_fd, "a\0b")


def test_makes_directories_where_links_lead_within_the_root(run: Run, root: Path, root_fd: int) -> None:
    outside = root.parent / "outside"

    def work() -> None:
        make_directories(root_fd, "dangling/x/y")
        make_directories(root_fd, "out/deep")
        make_directories(root_fd, "out2/deep")
        make_directories(root_fd, "a/b/c")

    run(work)
    assert (root / "new/dir/x/y").is_dir()
    assert (root / str(outside).lstrip("/") / "deep").is_dir()
    assert (root / "outside/deep").is_dir()
    assert os.listdir(outside) == ["canary"]
    assert stat.S_IMODE((root / "new").stat().st_mode) == 0o755


def test_a_made_directory_has_neither_the_umask_nor_the_parents_group(root: Path, root_fd: int) -> None:
    os.chmod(root / "a", 0o2755)
    before = os.umask(0o077)
    try:
        make_directories(root_fd, "a/x/y")
    finally:
        os.umask(before)
    for path in (root / "a/x", root / "a/x/y"):
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o755, os.getegid())


def test_open_parent_leaves_the_last_component_alone(run: Run, root: Path, root_fd: int) -> None:
    def work() -> None:
        for path, parent, last in (
            ("chain/loop", root / "a/b", "loop"),
            ("out", root, "out"),
            ("/a/x/", root / "a", "x"),
        ):
            fd, name = open_parent(root_fd, path)
            assert (os.fstat(fd).st_ino, name) == (parent.stat().st_ino, last)
            os.close(fd)
        for path in ("", "/", "..", "a/..", "a/."):
            with pytest.raises(OSError, match="Invalid argument"):
                open_parent(root_fd, path)

    run(work)


def test_many_parts_and_links_end_soon(run: Run, root: Path, root_fd: int) -> None:
    for number in range(280):
        (root / f"l{number}").symlink_to(f"l{number + 1}/" + "../" * 1300 if number < 279 else "a/b")
    (root / "zigzag").symlink_to("a/../" * 800 + "a")

    def work() -> None:
        os.close(resolve_directory(root_fd, "l25").fd)
        with pytest.raises(OSError, match="Too many levels"):
            resolve_directory(root_fd, "l0")
        os.close(resolve_directory(root_fd, "zigzag/b").fd)
        deep = "/".join(["d"] * 600)
        make_directories(root_fd, deep)
        os.close(resolve_directory(root_fd, deep).fd)
        remove_tree(root_fd, "d")

    run(work)


def test_the_cache_gives_the_right_directories(root: Path, root_fd: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    cache = DirectoryCache(root_fd)
    for _ in range(2):
        for path, resolved in (("a", "a"), ("a/b", "a/b"), ("chain", "a/b"), ("chain/c", "a/b/c"), ("", "")):
            found = cache.get(path)
            assert found.path == resolved
            assert os.fstat(found.fd).st_ino == (root / resolved).stat().st_ino
    for number in range(200):
        made = cache.get(f"many/{number}")
        assert os.fstat(made.fd).st_ino == (root / f"many/{number}").stat().st_ino
    assert len(os.listdir("/proc/self/fd")) - before <= 64
    with pytest.raises(FileNotFoundError):
        cache.get("none", create=False)
    cache.forget()


def test_the_cache_sees_a_setgid_bit(root: Path, root_fd: int) -> None:
    os.chmod(root / "a/b", 0o2755)
    cache = DirectoryCache(root_fd)
    assert [cache.get(path).inherits_group for path in ("a", "a/b", "a/b/c")] == [False, True, False]
    cache.forget()


def test_the_guard_forbids_making(root: Path, root_fd: int) -> None:
    asked = []

    def guard(path: str) -> None:
        asked.append(path)
        if path.startswith("new/dir"):
            raise InterruptedError

    cache = DirectoryCache(root_fd, guard=guard)
    with pytest.raises(InterruptedError):
        cache.get("dangling/x")
    assert asked == ["new", "new/dir"]
    assert os.listdir(root / "new") == []
    cache.forget()


def test_removes_everything_but_follows_nothing(root: Path, root_fd: int) -> None:
    tree = root / "tree"
    (tree / "x" / "y").mkdir(parents=True)
    (tree / "x" / "y" / "f").write_bytes(b"")
    (tree / "empty").mkdir()
    os.mkfifo(tree / "fifo")
    targets = (str(root.parent / "outside"), "../../outside", "/", "loop", "../a")
    for number, target in enumerate(targets):
        (tree / f"l{number}").symlink_to(target)
        (tree / "x" / "y" / f"l{number}").symlink_to(target)
    os.link(root.parent / "outside" / "canary", tree / "hard")
    remove_tree(root_fd, "tree")
    assert not tree.exists()
    remove_tree(root_fd, "out")
    assert not os.path.lexists(root / "out")
    remove_tree(root_fd, "slash")
    assert (root.parent / "outside" / "canary").read_bytes() == b"alive"
    assert (root / "a" / "file").exists()
    with pytest.raises(FileNotFoundError):
        remove_tree(root_fd, "tree")


def test_removes_a_tree_of_any_depth(root: Path, root_fd: int) -> None:
    fd = os.dup(root_fd)
    for _ in range(4_000):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("d", os.O_PATH | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(root_fd, "d")
    assert not (root / "d").exists()


def test_clears_around_what_is_kept(root: Path, root_fd: int) -> None:
    for path in ("c/keep/in", "c/above/keep/x", "c/above/go/x", "c/go/x"):
        (root / path).mkdir(parents=True)
    (root / "c/file").write_bytes(b"")
    (root / "c/above/link").symlink_to("../../a")
    fates = {
        "c/keep": Fate.KEEP,
        "c/above": Fate.DESCEND,
        "c/above/keep": Fate.KEEP,
        "c/above/link": Fate.DESCEND,
    }
    clear_directory(root_fd, "c", lambda path: fates.get(path, Fate.REMOVE))
    left = sorted(str(path.relative_to(root)) for path in (root / "c").rglob("*"))
    assert left == ["c/above", "c/above/keep", "c/above/keep/x", "c/above/link", "c/keep", "c/keep/in"]
    assert (root / "a/file").exists()


def test_does_not_clear_through_a_link(root: Path, root_fd: int) -> None:
    clear_directory(root_fd, "rel", lambda path: Fate.REMOVE)
    assert (root / "a/b/c").exists()


def test_discards_a_tree_of_any_depth(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    place = tmp_path / "place"
    deep = "/".join(["d"] * 1500)
    subprocess.run(["mkdir", "--parents", place / deep], check=True)
    (place / deep / "link").symlink_to(outside)
    discard_tree(place)
    assert os.listdir(tmp_path) == ["outside"]


def test_discards_nothing_without_an_error(tmp_path: Path) -> None:
    discard_tree(tmp_path / "nothing")
    discard_tree(tmp_path / "no/thing")
    (tmp_path / "file").write_text("x")
    discard_tree(tmp_path / "file")
    assert os.listdir(tmp_path) == []
