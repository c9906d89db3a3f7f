import io
import os
import resource
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from knarr.errors import OutputError
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.read import open_layer
from knarr.layers.tar.read import TarReader
from knarr.layers.write import write_layer
from knarr.rootfs.unpacking.protection import Protection
from knarr.rootfs.unpacking.unpack import PROTECTED, AppliedLayer, OwnerPolicy, apply_layer
from unit.layers.tar.raw_tar import archive, directory, fifo, file, hardlink, header, symlink


def apply(
    root: Path,
    *parts: bytes,
    policy: OwnerPolicy = OwnerPolicy.RECORD,
    protected: frozenset[str] = frozenset(),
) -> AppliedLayer:
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        reader = TarReader(io.BytesIO(archive(*parts)))
        return apply_layer(root_fd, reader, owner_policy=policy, protected=Protection(protected))
    finally:
        os.close(root_fd)


def paths(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (root / name).mkdir(exist_ok=True)
        else:
            (root / name).write_bytes(b"lower")


def test_makes_every_kind(tmp_path: Path) -> None:
    result = apply(
        tmp_path,
        directory(b"./"),
        directory(b"d/", 0o1777),
        header(b"d/f", mode=0o640, mtime=1234, size=3) + b"abc".ljust(512, b"\0"),
        header(b"d/l", flag=b"2", link=b"../nowhere", mtime=99, mode=0o777),
        header(b"h", flag=b"1", link=b"d/f", mode=0o640, mtime=1234),
        header(b"p", flag=b"6", mode=0o622, mtime=5),
        header(b"implied/deep/x"),
    )
    assert result == AppliedLayer(())
    assert paths(tmp_path) == ["d", "d/f", "d/l", "h", "implied", "implied/deep", "implied/deep/x", "p"]
    status = os.stat(tmp_path / "d/f")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime, status.st_nlink) == (0o640, 1234, 2)
    assert (tmp_path / "h").read_bytes() == b"abc"
    assert (os.readlink(tmp_path / "d/l"), os.lstat(tmp_path / "d/l").st_mtime) == ("../nowhere", 99)
    assert stat.S_ISFIFO(os.lstat(tmp_path / "p").st_mode)
    assert stat.S_IMODE(os.lstat(tmp_path / "p").st_mode) == 0o622
    assert stat.S_IMODE(os.lstat(tmp_path / "d").st_mode) == 0o1777
    assert stat.S_IMODE(os.lstat(tmp_path / "implied").st_mode) == 0o755


def test_times_of_directories_survive_what_is_put_in_later(tmp_path: Path) -> None:
    apply(
        tmp_path,
        header(b"a", flag=b"5", mode=0o755, mtime=100),
        header(b"a/b", flag=b"5", mode=0o755, mtime=200),
        file(b"a/b/c"),
        file(b"a/d"),
        header(b"gone", flag=b"5", mode=0o755, mtime=300),
        file(b"gone"),
    )
    assert [os.stat(tmp_path / name).st_mtime for name in ("a", "a/b", "gone")] == [100, 200, 0]


@pytest.mark.parametrize(
    "before", ["file", "link", "link to a directory", "directory", "filled directory", "fifo"]
)
@pytest.mark.parametrize("after", ["file", "link", "directory", "fifo", "hard link"])
def test_what_is_there_gives_way(tmp_path: Path, before: str, after: str) -> None:
    make(tmp_path, "other/kept", "source")
    place = tmp_path / "x"
    makers: dict[str, Callable[[], object]] = {
        "file": lambda: place.write_bytes(b"lower"),
        "link": lambda: place.symlink_to("source"),
        "link to a directory": lambda: place.symlink_to("other"),
        "directory": place.mkdir,
        "filled directory": lambda: make(tmp_path, "x/y/z"),
        "fifo": lambda: os.mkfifo(place),
    }
    makers[before]()
    part, kind = {
        "file": (file(b"x", b"upper"), stat.S_IFREG),
        "link": (symlink(b"x", b"elsewhere"), stat.S_IFLNK),
        "directory": (directory(b"x", 0o750), stat.S_IFDIR),
        "fifo": (fifo(b"x"), stat.S_IFIFO),
        "hard link": (hardlink(b"x", b"source", 0o644), stat.S_IFREG),
    }[after]
    apply(tmp_path, part)
    assert stat.S_IFMT(os.lstat(place).st_mode) == kind
    if after == "directory":
        assert stat.S_IMODE(os.lstat(place).st_mode) == 0o750
        assert paths(place) == (["y", "y/z"] if before == "filled directory" else [])
    assert (tmp_path / "other/kept").read_bytes() == (tmp_path / "source").read_bytes() == b"lower"


def test_an_entry_may_come_twice(tmp_path: Path) -> None:
    apply(
        tmp_path,
        file(b"a", b"1"),
        file(b"a", b"22"),
        directory(b"d"),
        file(b"d/x"),
        file(b"d"),
        directory(b"d"),
    )
    assert (tmp_path / "a").read_bytes() == b"22"
    assert paths(tmp_path) == ["a", "d"]


def test_writes_go_through_links_of_their_own_layer(tmp_path: Path) -> None:
    make(tmp_path, "usr/lib/old")
    links = (symlink(b"lib", b"usr/lib"), symlink(b"var", b"/missing/place"))
    apply(tmp_path, *links, file(b"lib/new", b"x"), file(b"lib/.wh.old"), file(b"var/f", b"y"))
    assert paths(tmp_path / "usr") == ["lib", "lib/new"]
    assert (tmp_path / "missing/place/f").read_bytes() == b"y"
    assert (tmp_path / "lib").is_symlink()


def test_a_link_that_is_replaced_leads_elsewhere_at_once(tmp_path: Path) -> None:
    make(tmp_path, "one/", "two/")
    apply(
        tmp_path,
        symlink(b"l", b"one"),
        file(b"l/a"),
        symlink(b"l", b"two"),
        file(b"l/b"),
        file(b".wh.l"),
        directory(b"l"),
        file(b"l/c"),
    )
    assert paths(tmp_path) == ["l", "l/c", "one", "one/a", "two", "two/b"]


def test_whiteouts(tmp_path: Path) -> None:
    make(tmp_path, "file", "dir/x/y", "other/file", "stays")
    (tmp_path / "link").symlink_to("stays")
    apply(
        tmp_path,
        file(b".wh.file"),
        file(b".wh.dir"),
        file(b".wh.link"),
        file(b"other/.wh.file", b"ignored content"),
        file(b"other/.wh.missing"),
        file(b"stays/.wh.below a file"),
        file(b"new/.wh.x"),
    )
    assert paths(tmp_path) == ["new", "other", "stays"]


def test_a_whiteout_spares_what_its_own_layer_brings(tmp_path: Path) -> None:
    make(tmp_path, "a/lower", "a/both", "f")
    apply(tmp_path, file(b"a/both", b"upper"), file(b"f", b"upper"), file(b".wh.a"), file(b".wh.f"))
    assert paths(tmp_path) == ["a", "a/both", "f"]
    assert (tmp_path / "a/both").read_bytes() == b"upper"
    make(tmp_path, "b/lower")
    apply(tmp_path, file(b".wh.b"), file(b"b", b"upper"))
    assert (tmp_path / "b").read_bytes() == b"upper"


@pytest.mark.parametrize("position", range(6))
def test_an_opaque_marker_hides_lower_layers_wherever_it_stands(tmp_path: Path, position: int) -> None:
    make(tmp_path, "d/lower", "d/sub/lower", "d/implied/lower", "d/empty/", "beside/lower", "d/both")
    parts = [
        directory(b"d"),
        file(b"d/upper"),
        directory(b"d/sub"),
        file(b"alias/both", b"upper"),
        file(b"d/implied/deep/upper"),
    ]
    parts.insert(position, file(b"d/.wh..wh..opq"))
    apply(tmp_path, symlink(b"alias", b"d"), *parts)
    assert paths(tmp_path) == [
        "alias",
        "beside",
        "beside/lower",
        "d",
        "d/both",
        "d/implied",
        "d/implied/deep",
        "d/implied/deep/upper",
        "d/sub",
        "d/upper",
    ]
    assert (tmp_path / "d/both").read_bytes() == b"upper"


def test_an_opaque_root(tmp_path: Path) -> None:
    make(tmp_path, "a/b", "c")
    (tmp_path / "l").symlink_to("a")
    apply(tmp_path, file(b"new"), file(b".wh..wh..opq"))
    assert paths(tmp_path) == ["new"]


def test_an_opaque_marker_does_not_follow_a_link_of_its_own_layer(tmp_path: Path) -> None:
    make(tmp_path, "target/kept", "d/lower")
    apply(tmp_path, symlink(b"d/link", b"../target"), file(b"d/.wh..wh..opq"))
    assert paths(tmp_path) == ["d", "d/link", "target", "target/kept"]


def test_hard_links_reach_lower_layers_and_links_themselves(tmp_path: Path) -> None:
    make(tmp_path, "usr/lib/f")
    (tmp_path / "lib").symlink_to("usr/lib")
    apply(
        tmp_path,
        hardlink(b"a", b"/lib/f"),
        symlink(b"l", b"/etc/shadow"),
        hardlink(b"d/l2", b"./l", 0o777),
    )
    assert (tmp_path / "a").samefile(tmp_path / "usr/lib/f")
    assert os.readlink(tmp_path / "d/l2") == "/etc/shadow"
    assert os.lstat(tmp_path / "d/l2").st_ino == os.lstat(tmp_path / "l").st_ino


def test_a_hard_link_carries_the_metadata_of_its_header(tmp_path: Path) -> None:
    apply(tmp_path, file(b"a", b"x"), header(b"b", flag=b"1", link=b"a", mode=0o751, mtime=77))
    status = os.stat(tmp_path / "a")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o751, 77)


def test_large_and_sparse_content(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    content = os.urandom(1000) * 5000
    (source / "big").write_bytes(content)
    with (source / "sparse").open("wb") as sparse:
        sparse.seek(50_000_000)
        sparse.write(b"middle")
        sparse.truncate(80_000_000)
    subprocess.run(["tar", "-cSf", tmp_path / "a.tar", "-C", source, "big", "sparse"], check=True)
    root = tmp_path / "root"
    root.mkdir()
    apply(root, (tmp_path / "a.tar").read_bytes())
    assert (root / "big").read_bytes() == content
    assert (root / "sparse").stat().st_blocks * 512 < 1_000_000
    assert (root / "sparse").read_bytes() == (source / "sparse").read_bytes()


def test_protected_paths_stay_as_they_are(tmp_path: Path) -> None:
    make(
        tmp_path,
        "etc/resolv.conf",
        "etc/passwd",
        "work/space/file",
        "work/other",
        "opt/x/mnt/f",
        "opt/x/y",
        "opt/z",
    )
    protected = frozenset({"etc/resolv.conf", "work/space", "opt/x/mnt"})
    result = apply(
        tmp_path,
        symlink(b"alias", b"work/space"),
        file(b"etc/resolv.conf", b"upper"),
        file(b"etc/.wh.resolv.conf"),
        file(b"work/space/new", b"upper"),
        file(b"work/space/deep/new", b"upper"),
        file(b"alias/new", b"upper"),
        file(b"alias/deep/new", b"upper"),
        file(b"alias/.wh.file"),
        file(b"work/.wh..wh..opq"),
        hardlink(b"stolen", b"etc/resolv.conf"),
        hardlink(b"stolen2", b"alias/file"),
        file(b"opt", b"a file now"),
        file(b"etc", b"a file now"),
        file(b".wh.work"),
        directory(b"work", 0o700),
        directory(b"work/space", 0o700),
        protected=protected,
    )
    assert paths(tmp_path) == [
        "alias",
        "etc",
        "etc/resolv.conf",
        "opt",
        "opt/x",
        "opt/x/mnt",
        "opt/x/mnt/f",
        "work",
        "work/space",
        "work/space/file",
    ]
    assert (tmp_path / "etc/resolv.conf").read_bytes() == b"lower"
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "work/space").stat().st_mode) == 0o755
    assert {loss.what.removeprefix(PROTECTED): loss.count for loss in result.losses} == {
        "etc": 1,
        "etc/resolv.conf": 3,
        "opt": 1,
        "work/space": 6,
    }


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match="unpacking d/f: File too large"):
            apply(tmp_path, file(b"d/f", b"x" * 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_unpacks_what_we_pack(tmp_path: Path) -> None:
    items = [
        LayerItem(Entry("d", Kind.DIRECTORY, 0o755, mtime_ns=10**9)),
        LayerItem(Entry("d/ü", Kind.FILE, 0o600, mtime_ns=2 * 10**9, size=7), lambda: io.BytesIO(b"content")),
        LayerItem(Entry("d/" + "n" * 200, Kind.FILE, 0o644, mtime_ns=3 * 10**9)),
        LayerItem(Entry("l", Kind.SYMLINK, 0o777, mtime_ns=4 * 10**9, link_target="d/ü")),
        LayerItem(Entry("h", Kind.HARDLINK, 0o600, mtime_ns=2 * 10**9, link_target="d/ü")),
    ]
    own = (os.geteuid(), os.getegid())
    packed = io.BytesIO()
    items = [replace(item, entry=replace(item.entry, uid=own[0], gid=own[1])) for item in items]
    layer = write_layer(items, packed)
    packed.seek(0)
    root_fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with open_layer(packed, expected_diff_id=layer.diff_id) as stream:
            result = apply_layer(root_fd, TarReader(stream))
            assert stream.verify() == layer.diff_id
    finally:
        os.close(root_fd)
    assert result == AppliedLayer(())
    for item in items:
        entry, found = item.entry, os.lstat(tmp_path / item.entry.path)
        assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (entry.mode, entry.mtime_ns)
    assert (tmp_path / "l").read_bytes() == (tmp_path / "h").read_bytes() == b"content"


def test_agrees_with_gnu_tar(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(150):
        make(source, f"{number % 7}/{number % 5}/{number}")
        os.chmod(source / f"{number % 7}/{number % 5}/{number}", 0o400 + number)
        os.utime(source / f"{number % 7}/{number % 5}/{number}", (number, number))
    (source / "1/link").symlink_to("../2")
    (source / "hard").hardlink_to(source / "0/0/0")
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", source, "."], check=True)
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    subprocess.run(["tar", "-xpf", tmp_path / "a.tar", "-C", tmp_path / "theirs"], check=True)
    apply(tmp_path / "ours", (tmp_path / "a.tar").read_bytes(), policy=OwnerPolicy.KEEP)

    def listing(root: Path) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for path in sorted(root.rglob("*")):
            status = os.lstat(path)
            size = 0 if path.is_dir() else status.st_size
            found.append((str(path.relative_to(root)), status.st_mode, status.st_uid, status.st_mtime, size))
        return found

    assert listing(tmp_path / "ours") == listing(tmp_path / "theirs")
