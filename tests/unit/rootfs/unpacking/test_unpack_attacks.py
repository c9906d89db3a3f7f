"""Layers that try to reach what is outside of the root."""

import errno
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from knarr.errors import CorruptError
from knarr.layers.tar.read import TarLimits, TarReader
from knarr.rootfs.unpacking.unpack import OwnerPolicy, apply_layer
from unit.layers.tar.raw_tar import (
    GNU,
    archive,
    base256,
    directory,
    fifo,
    file,
    hardlink,
    header,
    long_name,
    padded,
    pax,
    raw_pax,
    symlink,
)
from unit.rootfs.test_paths import run_without_openat2

Build = Callable[[bytes], bytes]
"""Makes an archive from the absolute path of the directory outside."""


@dataclass(frozen=True)
class Case:
    name: str
    build: Build
    refused: bool | None
    """None where both are fine as long as nothing outside changes."""


WAYS_OUT: dict[str, Callable[[bytes], bytes]] = {
    "absolute": lambda outside: symlink(b"evil", outside),
    "relative": lambda outside: symlink(b"evil", b"../outside"),
    "far up": lambda outside: symlink(b"evil", b"../" * 60 + outside[1:]),
    "from a directory": lambda outside: (
        directory(b"d") + symlink(b"d/l", b"../../outside") + symlink(b"evil", b"d/l")
    ),
    "chain": lambda outside: symlink(b"c1", outside) + symlink(b"c2", b"/c1") + symlink(b"evil", b"c2/../c2"),
    "hard link to the link": lambda outside: symlink(b"l", outside) + hardlink(b"evil", b"l"),
    "parent": lambda outside: symlink(b"up", b"..") + symlink(b"evil", b"up/outside"),
    "long": lambda outside: symlink(b"evil", b"./" * 1900 + b"../" * 20 + b"outside"),
    "slashes": lambda outside: symlink(b"evil", b"//" + outside + b"//"),
    "proc": lambda outside: symlink(b"evil", b"/proc/self/cwd/../outside"),
    "dot dot last": lambda outside: symlink(b"evil", outside + b"/x/.."),
}
LOOPS: dict[str, Callable[[bytes], bytes]] = {
    "itself": lambda outside: symlink(b"evil", b"evil"),
    "two": lambda outside: symlink(b"evil", b"live") + symlink(b"live", b"evil"),
    "growing": lambda outside: symlink(b"evil", b"evil/evil"),
}
WRITES: dict[str, bytes] = {
    "new file": file(b"evil/pwned", b"x"),
    "old file": file(b"evil/canary", b"x"),
    "setuid file": file(b"evil/sh", b"x", mode=0o6755),
    "deep file": file(b"evil/a/b/c", b"x"),
    "directory": directory(b"evil/pwned", 0o777),
    "old directory": directory(b"evil/sub", 0o777),
    "symlink": symlink(b"evil/pwned", b"x"),
    "fifo": fifo(b"evil/pwned"),
    "whiteout": file(b"evil/.wh.canary"),
    "whiteout of a directory": file(b"evil/.wh.sub"),
    "opaque": file(b"evil/.wh..wh..opq"),
}
ON_THE_LINK: dict[str, bytes] = {
    "directory over it": directory(b"evil", 0o777) + file(b"evil/pwned", b"x"),
    "directory with slash over it": directory(b"evil/", 0o777),
    "file over it": file(b"evil", b"x", mode=0o777),
    "fifo over it": fifo(b"evil"),
    "hard link over it": file(b"f", b"x") + hardlink(b"evil", b"f", 0o777),
    "hard link to it": hardlink(b"h", b"evil", 0o777)
    + header(b"h2", flag=b"1", link=b"evil", mode=0o777, uid=1),
    "whiteout of it": file(b".wh.evil"),
    "two times over it": file(b"evil", b"x") + directory(b"evil") + file(b"evil/pwned"),
}
STEALS: dict[str, bytes] = {
    "hard link through it": hardlink(b"stolen", b"evil/canary", 0o777) + file(b"stolen", b"x"),
    "hard link to a directory through it": hardlink(b"stolen", b"evil/sub"),
}
NAMES: dict[str, bytes] = {
    "up": b"../outside/canary",
    "in and out": b"a/../../outside/canary",
    "absolute up": b"/../outside/canary",
    "dot dot": b"..",
    "dot dot slash": b"../",
    "hidden by slashes": b"a//..//../outside/canary",
    "hidden by dots": b"./a/./.././../outside/canary",
    "last": b"a/..",
    "sibling": b"../root-evil/x",
}
WHITEOUTS: dict[str, bytes] = {
    "nothing": b".wh.",
    "dot": b".wh..",
    "dot dot": b".wh...",
    "nothing below": b"a/.wh.",
    "dot below": b"a/.wh..",
    "dot dot below": b"a/.wh...",
    "up": b"../.wh.outside",
    "through up": b"a/../../.wh.outside",
    "inside": b".wh.a/b",
}
DAMAGED: dict[str, bytes] = {
    "negative size": header(b"a", size=base256(-512, 12)),
    "huge size": header(b"a", size=base256(2**62, 12)),
    "overflowing size": header(b"a", size=b"\x81" + bytes(11)),
    "pax negative size": pax((b"size", b"-512")) + file(b"a"),
    "uid -1": header(b"a", uid=base256(-1, 8)),
    "uid 2^32-1": header(b"a", uid=base256(2**32 - 1, 8)),
    "uid 2^32": pax((b"uid", b"4294967296")) + file(b"a"),
    "pax bomb": header(b"x", flag=b"x", size=base256(4 * 2**30, 12)),
    "long name bomb": header(b"x", flag=b"L", size=base256(4 * 2**30, 12), magic=GNU),
    "pax record bomb": raw_pax(b"4294967296 path=x\n") + file(b"a"),
    "sparse bomb": pax((b"GNU.sparse.map", b""), (b"GNU.sparse.size", b"1099511627776")) + file(b"a"),
    "sparse negative": pax((b"GNU.sparse.map", b"-1,5"), (b"GNU.sparse.size", b"9")) + file(b"a", b"12345"),
    "wrong checksum": header(b"a", checksum=b"000000\0 "),
    "empty name": header(b""),
    "empty pax name": long_name(b"") + file(b"a"),
    "nul in a name": pax((b"path", b"a\0../../outside/canary")) + file(b"a"),
    "nul in a link": pax((b"linkpath", b"a\0/../../outside")) + header(b"a", flag=b"2"),
    "two names": long_name(b"a") + pax((b"path", b"b")) + file(b"c"),
    "unknown type": header(b"a", flag=b"Z"),
    "root as a link": symlink(b".", b"../outside") + file(b"canary", b"x"),
    "root as a link, with slash": symlink(b"./", b"../outside") + file(b"canary", b"x"),
    "root as a file": file(b"/", b"x"),
    "root as a hard link": file(b"a") + hardlink(b".", b"a"),
    "hard link to the root": hardlink(b"a", b"."),
    "hard link to nothing": hardlink(b"a", b"missing"),
    "hard link to itself": hardlink(b"a", b"a"),
    "hard link to a directory": directory(b"d") + hardlink(b"a", b"d"),
    "hard link up": hardlink(b"a", b"../outside/canary"),
    "hard link to another root": hardlink(b"a", b"x/../../outside/canary"),
    "file below a file": file(b"a") + file(b"a/b"),
    "name too long": pax((b"path", b"n" * 256)) + file(b"a"),
    "path too long": pax((b"path", b"a/" * 300_000)) + file(b"a"),
    "device out of range": pax((b"comment", b"x")) + header(b"a", flag=b"3")[:329] + bytes(183),
}


def _after(leave: Build, write: bytes) -> Build:
    return lambda outside: archive(leave(outside), write)


def _always(data: bytes) -> Build:
    return lambda outside: data


def _cases() -> Iterator[Case]:
    for way, leave in WAYS_OUT.items():
        for name, write in {**WRITES, **ON_THE_LINK, **STEALS}.items():
            yield Case(f"{name}, {way}", _after(leave, write), refused=name in STEALS)
    for way, leave in LOOPS.items():
        for name, write in {**WRITES, **ON_THE_LINK, **STEALS}.items():
            yield Case(f"{name}, loop of {way}", _after(leave, write), refused=name not in ON_THE_LINK)
    for group, names in (("name", NAMES), ("whiteout", WHITEOUTS)):
        for name, raw in names.items():
            for kind, flag in (("file", b"0"), ("directory", b"5"), ("symlink", b"2"), ("fifo", b"6")):
                data = archive(directory(b"a"), header(raw, flag=flag, link=b"x"))
                yield Case(f"{group} {name}, {kind}", _always(data), refused=True)
    for name, part in DAMAGED.items():
        yield Case(name, _always(archive(part)), refused=True)


CASES = {case.name: case for case in _cases()}


def test_the_corpus_is_large() -> None:
    assert len(CASES) > 300


def picture(path: Path) -> list[tuple[object, ...]]:
    """All that could have changed of a tree."""
    found: list[tuple[object, ...]] = []
    for place in [path, *sorted(path.rglob("*"))]:
        status = os.lstat(place)
        names = os.listxattr(place, follow_symlinks=False)
        attributes = {name: os.getxattr(place, name, follow_symlinks=False) for name in names}
        content = place.read_bytes() if place.is_file() and not place.is_symlink() else None
        link = os.readlink(place) if place.is_symlink() else None
        numbers = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink,
            status.st_ino,
            status.st_size,
        )
        times = (status.st_mtime_ns, status.st_ctime_ns)
        found.append((str(place), numbers, times, attributes, content, link))
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    (outside / "sub" / "deeper").mkdir(parents=True)
    (outside / "canary").write_bytes(b"alive")
    (outside / "sub" / "canary").write_bytes(b"alive")
    (outside / "link").symlink_to("canary")
    os.chmod(outside / "canary", 0o640)
    for place in (outside / "canary", outside / "sub", outside):
        os.setxattr(place, "user.canary", b"alive")
        os.utime(place, (12345, 67890))
    (tmp_path / "root").mkdir()
    return outside


def attack(outside: Path, data: bytes, *, refused: bool | None) -> None:
    tmp_path = outside.parent
    before = picture(outside)
    descriptors = len(os.listdir("/proc/self/fd"))
    root_fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    was_refused = False
    try:
        limits = TarLimits(entries=1000)
        apply_layer(root_fd, TarReader(io.BytesIO(data), limits=limits), owner_policy=OwnerPolicy.RECORD)
    except CorruptError:
        was_refused = True
    finally:
        os.close(root_fd)
    assert picture(outside) == before
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert refused is None or was_refused is refused
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("name", CASES)
def test_nothing_outside_changes(outside: Path, name: str) -> None:
    case = CASES[name]
    attack(outside, case.build(os.fsencode(outside)), refused=case.refused)


@pytest.mark.parametrize("name", [name for name in CASES if "," in name and "whiteout " not in name[:9]][::3])
def test_nothing_outside_changes_without_openat2(outside: Path, name: str) -> None:
    case = CASES[name]
    data = case.build(os.fsencode(outside))
    run_without_openat2(errno.ENOSYS, lambda: attack(outside, data, refused=case.refused))


@pytest.mark.parametrize("name", list(WAYS_OUT))
def test_the_link_may_come_from_a_lower_layer(outside: Path, name: str) -> None:
    way = WAYS_OUT[name](os.fsencode(outside))
    attack(outside, archive(way), refused=False)
    for write in (*WRITES.values(), *ON_THE_LINK.values()):
        attack(outside, archive(write), refused=None)


def test_a_link_that_is_there_before_the_first_layer_is_none_either(outside: Path) -> None:
    (outside.parent / "root" / "evil").symlink_to(outside)
    for write in (*WRITES.values(), *STEALS.values(), *ON_THE_LINK.values()):
        attack(outside, archive(write), refused=None)


def test_writes_end_where_a_process_in_the_root_would_find_them(outside: Path) -> None:
    attack(outside, archive(symlink(b"evil", b"../outside"), file(b"evil/pwned", b"x")), refused=False)
    assert (outside.parent / "root" / "outside" / "pwned").read_bytes() == b"x"


def test_a_cut_archive_is_refused_wherever_it_is_cut(outside: Path) -> None:
    data = archive(pax((b"uid", b"1")), file(b"a", b"x" * 700), long_name(b"b"), file(b"c", b"y" * 100))
    for length in range(1, len(data) - 1024, 100):
        if length % 512:
            attack(outside, data[:length], refused=True)


def test_junk_behind_the_end_is_left_alone(outside: Path) -> None:
    attack(outside, archive(file(b"a")) + padded(b"junk"), refused=False)
    attack(outside, archive(file(b"a")) + archive(file(b"../outside/x", b"1")), refused=False)


def test_too_many_entries_are_refused(outside: Path) -> None:
    attack(outside, archive(*(file(b"f%d" % number) for number in range(1001))), refused=True)


def test_a_deep_path_within_the_limit_is_made_and_removed(outside: Path) -> None:
    deep = pax((b"path", b"d/" * 2047 + b"f")) + file(b"x", b"x")
    attack(outside, archive(deep), refused=False)
    attack(outside, archive(file(b"d/.wh..wh..opq")), refused=False)
    assert os.listdir(outside.parent / "root" / "d") == []
    attack(outside, archive(deep, file(b"d/.wh..wh..opq"), file(b".wh.d")), refused=False)
    attack(outside, archive(file(b"d", b"x")), refused=False)
    assert (outside.parent / "root" / "d").read_bytes() == b"x"


def test_links_make_no_path_longer_than_an_archive_may_have(outside: Path) -> None:
    """Every look at such a path takes a step for each directory: hours, for a small archive."""
    part = b"d/" * 1900
    long = pax((b"path", b"s/" + part)) + directory(b"d")
    through = pax((b"path", b"t/" + part)) + directory(b"d")
    attack(outside, archive(long, symlink(b"t", b"s/" + part), through), refused=True)
    # Too deep for shutil.rmtree, and so for pytest.
    subprocess.run(["rm", "-r", outside.parent / "root"], check=True)
