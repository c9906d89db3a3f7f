"""Layers that go for what a container has beside the image: volumes, the executor's files, kernel files."""

from collections.abc import Mapping

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
from unit.rootfs.unpacking.test_unpack_attacks import CASES

VOLUMES = (b"workspace", b"cache", b"tmp", b"data", b"deep/er/volume")
MOUNTED = (*VOLUMES, b"etc/app.conf", b"etc/resolv.conf", b"etc/hosts", b"etc/hostname")
OWN = (b"knarr", b"kaniko", b"proc", b"sys", b"dev")
KEPT = (*MOUNTED, *OWN)
ABOVE = (b"deep", b"deep/er", b"etc")
"""Directories that something is mounted in."""
OF_THE_EXECUTOR = (b"kaniko/executor", b"kaniko/.docker/config.json", b"knarr/bin/python3.11", b"knarr/new")
OF_THE_KERNEL = (b"proc/sysrq-trigger", b"proc/sys/kernel/core_pattern", b"dev/null", b"dev/shm/x", b"sys/x")
IN_VOLUMES = tuple(volume + b"/file" for volume in VOLUMES)
FILES = (*IN_VOLUMES, *MOUNTED[5:], *OF_THE_EXECUTOR, *OF_THE_KERNEL)


def _whiteout(path: bytes) -> bytes:
    head, slash, name = path.rpartition(b"/")
    return file(head + slash + b".wh." + name)


def _opaque(path: bytes) -> bytes:
    return file(path + b"/.wh..wh..opq")


def _pax_path(path: bytes, entry: bytes) -> bytes:
    return pax((b"path", path)) + entry


def _through(alias: bytes, target: bytes) -> bytes:
    """What can be done through a link to a directory that holds `file`."""
    return b"".join(
        (
            symlink(alias, target),
            file(alias + b"/file", b"changed", mode=0o6755, uid=99),
            file(alias + b"/new", b"new"),
            directory(alias + b"/dir", 0o700),
            file(alias + b"/dir/.wh.file"),
            _whiteout(alias + b"/file"),
            _opaque(alias),
            hardlink(alias + b"/linked", alias + b"/file", 0o777),
            fifo(alias + b"/pipe"),
        )
    )


def _chain(length: int) -> bytes:
    links = [symlink(b"l%d" % number, b"l%d" % (number + 1)) for number in range(length)]
    return b"".join(links) + symlink(b"l%d" % length, b"/data")


def _device(name: bytes, flag: bytes, numbers: tuple[int, int]) -> bytes:
    return header(name, flag=flag, mode=0o666, device=numbers)


def _deep() -> bytes:
    """A path of 6000 directories, which no system call takes at once."""
    part = b"d/" * 1900
    tops = [pax((b"path", b"s%d/" % at + part)) + header(b"d", flag=b"5") for at in (1, 2, 3)]
    links = [symlink(b"s%d" % (at + 1), b"s%d/" % at + part) for at in (1, 2)]
    return directory(b"s1") + tops[0] + links[0] + tops[1] + links[1] + tops[2]


LOWER = b"".join(map(file, FILES))
"""So that hard links are to something that the image has."""
ODD_NAMES = (b"a\nb", b"\xff\xfe", b"\x1b[31m", b'"', b" ", b"...", b"\\", b".wh", b"wh.file", b"-rf", b"*")

BUILT: Mapping[str, bytes] = {
    "whiteouts of all that is kept": b"".join(map(_whiteout, KEPT)),
    "whiteouts of what holds mounts": b"".join(map(_whiteout, reversed(ABOVE))),
    "whiteouts in what is kept": b"".join(map(_whiteout, FILES)),
    "whiteouts from absolute names": b"".join(_whiteout(b"/" + name) for name in (*KEPT, *FILES)),
    "whiteouts with dots and slashes": b"".join(_whiteout(b".//./" + name) for name in KEPT),
    "whiteouts as directories": b"".join(directory(b".wh." + name) for name in OWN),
    "whiteouts as links": symlink(b".wh.data", b"/data") + symlink(b"data/.wh.file", b"/etc/app.conf"),
    "opaque root": file(b".wh..wh..opq"),
    "opaque root, absolute": file(b"/.wh..wh..opq") + file(b"./.wh..wh..opq"),
    "opaque root, last": file(b"a") + _opaque(b"deep") + file(b".wh..wh..opq"),
    "opaque kept directories": b"".join(map(_opaque, (*VOLUMES, *OWN))),
    "opaque directories above": b"".join(map(_opaque, ABOVE)),
    "opaque as a directory": directory(b"data/.wh..wh..opq") + directory(b".wh..wh..opq"),
    "aufs's files": file(b".wh..wh.aufs") + directory(b".wh..wh.plnk") + file(b".wh..wh.plnk/1.2"),
    "files in place": b"".join(file(name, b"x", mode=0o777) for name in KEPT),
    "files in place of directories above": b"".join(file(name, b"x") for name in reversed(ABOVE)),
    "files inside": b"".join(file(name, b"changed", mode=0o6777, uid=99) for name in FILES),
    "files inside, absolute": b"".join(file(b"//" + name, b"changed") for name in FILES),
    "files inside, with dots": b"".join(file(b"./" + name.replace(b"/", b"/./"), b"x") for name in FILES),
    "new files inside": b"".join(file(name + b"/new/er/file", b"x") for name in (*VOLUMES, *OWN)),
    "links in place, to a directory": b"".join(symlink(name, b"/root") for name in KEPT),
    "links in place, to nothing": b"".join(symlink(name, b"/nowhere") for name in KEPT),
    "links in place, to themselves": b"".join(symlink(name, b"/" + name) for name in KEPT),
    "links in place of directories above": b"".join(symlink(name, b"/data") for name in reversed(ABOVE)),
    "links in place of files": b"".join(symlink(name, b"/etc/passwd") for name in FILES),
    "hard links in place": file(b"f", b"x") + b"".join(hardlink(name, b"f", 0o777) for name in KEPT),
    "hard links in place of directories above": file(b"f") + hardlink(b"deep", b"f") + hardlink(b"etc", b"f"),
    "pipes in place": b"".join(map(fifo, KEPT)),
    "pipes in place of directories above": b"".join(map(fifo, reversed(ABOVE))),
    "devices in place": b"".join(_device(name, b"3", (1, 3)) for name in KEPT),
    "disks in place": b"".join(_device(name, b"4", (254, 0)) for name in (*KEPT, b"dev/vda", b"disk")),
    "devices inside": b"".join(_device(name, b"3", (1, 3)) for name in FILES),
    "modes of all that is kept": b"".join(directory(name, 0) for name in (*VOLUMES, *OWN)),
    "modes with slashes": b"".join(directory(b"/" + name + b"/", 0o7777) for name in (*VOLUMES, *OWN)),
    "modes and owners of directories above": b"".join(
        header(name, flag=b"5", mode=0o2777, uid=99, gid=98, mtime=1) for name in ABOVE
    )
    + file(b"deep/er/new", b"x"),
    "modes of what is inside": directory(b"data/dir", 0o7777) + directory(b"knarr/bin", 0o777),
    "root's own look": header(b"./", flag=b"5", mode=0, uid=99) + directory(b"/", 0o7777),
    "attributes": b"".join(
        pax((b"SCHILY.xattr.user.x", b"1"), (b"SCHILY.xattr.trusted.overlay.opaque", b"y"))
        + directory(name)
        for name in (*VOLUMES, *OWN, *ABOVE)
    ),
    "an owner of our own making": pax((b"SCHILY.xattr.user.knarr.owner", b"x:y")) + file(b"f", b"x"),
    "times": b"".join(
        header(name, flag=b"5", mode=0o755, mtime=base256(mtime, 12))
        for name, mtime in ((b"data", -1), (b"deep", 2**62), (b"etc", -(2**62)), (b"deep/er", 2**33))
    ),
    "parent replaced by a link to a volume, then used": b"".join(
        (
            symlink(b"deep", b"/data"),
            file(b"deep/file", b"changed"),
            directory(b"deep", 0o700),
            file(b"deep/er/volume/file", b"changed"),
            symlink(b"deep/er", b"../data"),
            file(b"deep/er/file", b"changed"),
        )
    ),
    "parent replaced again and again": b"".join(
        make(name)
        for name in (b"deep", b"deep/er", b"deep/er/volume", b"etc")
        for make in (file, directory, fifo, file, _opaque, directory, _whiteout, directory)
    ),
    "parents replaced by each other": symlink(b"deep", b"/etc") + symlink(b"etc", b"/deep/er"),
    "through a link to each volume": b"".join(
        _through(b"alias%d" % number, b"/" + volume) for number, volume in enumerate(VOLUMES)
    ),
    "through a climbing link": _through(b"up", b"../../../../data"),
    "through a link with dots": _through(b"dots", b"/data/dir/../../data/."),
    "through a link in a directory": directory(b"x") + _through(b"x/y", b"../data"),
    "through a chain of links": _chain(30) + file(b"l0/file", b"changed") + _whiteout(b"l0/file"),
    "through links to the executor": _through(b"own", b"/knarr/bin") + _through(b"other", b"/kaniko"),
    "over links to the executor": b"".join(
        symlink(b"p", b"/" + name) + hardlink(b"p2", b"p", 0o6777) + directory(b"p", 0o777)
        + symlink(b"q", b"/" + name) + file(b"q", b"x", mode=0o6777) + _whiteout(b"q")
        for name in OF_THE_EXECUTOR[:3]
    ),
    "through proc": b"".join(
        _through(b"proc%d" % number, target)
        for number, target in enumerate((b"/proc/1/root/data", b"/proc/self/cwd", b"/proc/thread-self/root"))
    ),
    "hard links to what is kept": LOWER
    + b"".join(
        hardlink(b"stolen%d" % number, name, 0o6777) + file(b"stolen%d" % number, b"changed")
        for number, name in enumerate(FILES)
    ),
    "hard links through a link": LOWER
    + symlink(b"alias", b"/data")
    + hardlink(b"stolen", b"alias/file", 0o777),
    "hard links that change the target": LOWER
    + b"".join(
        header(b"stolen", flag=b"1", link=name, mode=0o6777, uid=99) * 2 for name in FILES
    ),
    "hard links to links": symlink(b"l", b"/data/file") + hardlink(b"h", b"l", 0o777) + file(b"h", b"x"),
    "hard links to what is mounted": b"".join(hardlink(b"stolen", name) for name in KEPT),
    "odd names": b"".join(file(name, b"x") for name in ODD_NAMES),
    "odd names in a volume": b"".join(file(b"data/" + name, b"x") for name in ODD_NAMES),
    "whiteouts of odd names": b"".join(_whiteout(b"data/" + name) for name in ODD_NAMES if name != b"..."),
    "names in pax headers": b"".join(_pax_path(name, file(b"harmless", b"changed")) for name in FILES),
    "whiteouts in pax headers": b"".join(
        _pax_path(b"/data/.wh.file", file(b"a")) + _pax_path(b".wh..wh..opq", file(b"a")) for _ in FILES[:1]
    ),
    "link targets in pax headers": LOWER
    + b"".join(
        pax((b"linkpath", name)) + header(b"h", flag=b"1", link=b"harmless") for name in FILES
    ),
    "names of sparse files": b"".join(
        pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"9"), (b"GNU.sparse.name", name))
        + file(b"GNUSparseFile.0/harmless", b"x")
        for name in FILES
    ),
    "sparse files": pax((b"GNU.sparse.map", b"0,1,4096,1"), (b"GNU.sparse.size", b"8192"))
    + file(b"data/file", b"xy"),
    "long names": b"".join(long_name(name) + file(b"harmless", b"changed") for name in FILES),
    "long names of whiteouts": long_name(b"data/" + b".wh.file") + file(b"harmless"),
    "long link targets": LOWER
    + long_name(b"data/file", b"K") + header(b"h", flag=b"1", link=b"harmless"),
    "prefixes": b"".join(
        header(name, prefix=b"data/dir", size=1) + padded(b"x") for name in (b"file", b"/file", b"new")
    ),
    "old directories": header(b"data/", flag=b"\0") + header(b"deep/er/", flag=b"\0", mode=0o700),
    "contiguous files": header(b"data/file", flag=b"7", size=1) + padded(b"x"),
    "the same again and again": b"".join((file(b"a", b"x"), fifo(b"a"), symlink(b"a", b"/data"))) * 50
    + directory(b"data") * 50,
    "very deep": _pax_path(b"d/" * 2000, directory(b"d")) + _pax_path(b"d/" * 2000 + b"f", file(b"f")),
    "very deep below a volume": pax((b"path", b"data/" + b"d/" * 2000)) + header(b"d", flag=b"5"),
    "libraries for every program": file(b"etc/ld.so.preload", b"/evil.so") + file(b"evil.so", b"\x7fELF")
    + file(b"etc/nsswitch.conf", b"hosts: evil") + file(b"usr/lib/ssl/openssl.cnf", b"openssl_conf = evil"),
}  # fmt: skip
"""Archives that make sense, so that what they are after is all that is left out."""

_UP = b"../data/file"
REFUSED: Mapping[str, bytes] = {
    "whiteout of nothing": file(b".wh."),
    "whiteout of this": file(b".wh.."),
    "whiteout of what is above": file(b".wh..."),
    "whiteout of a volume's own": file(b"data/.wh.."),
    "whiteout of what is above a volume": file(b"data/.wh..."),
    "whiteout of this, in a pax header": _pax_path(b"deep/.wh..", file(b"a")),
    "whiteout of what is above, in a long name": long_name(b"data/.wh...") + file(b"a"),
    "something in a whiteout": file(b".wh.data/file"),
    "empty name": header(b""),
    "empty long name": long_name(b"") + file(b"a"),
    "name that climbs": file(_UP, b"x"),
    "name that comes back": file(b"tmp/" + _UP, b"x"),
    "name that climbs, in a pax header": _pax_path(b"a/../" + _UP, file(b"a", b"x")),
    "name that climbs, in a long name": long_name(_UP) + file(b"a", b"x"),
    "name that climbs, in a sparse file": pax(
        (b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"9"), (b"GNU.sparse.name", _UP)
    ) + file(b"a", b"x"),
    "name that climbs, in a prefix": header(b"file", prefix=b"tmp/../data"),
    "name for all that follows": pax((b"path", b"data/file"), flag=b"g") + file(b"a", b"x"),
    "name with a NUL": pax((b"path", b"data/file\0/x")) + file(b"a"),
    "two names": long_name(b"a") + _pax_path(b"data/file", file(b"b")),
    "hard link that climbs": hardlink(b"a", _UP),
    "hard link to the root": hardlink(b"a", b"/"),
    "hard link to a directory above": hardlink(b"a", b"deep"),
    "root as a link": symlink(b"./", b"/data") + file(b"file", b"x"),
    "root as a pipe": fifo(b"."),
    "loop": symlink(b"a", b"b") + symlink(b"b", b"a") + file(b"a/file", b"x"),
    "too many links": _chain(300) + file(b"l0/file", b"x"),
    "path of 6000 names, by links": _deep(),
    "path of 5000 names": pax((b"path", b"d/" * 5000)) + header(b"d", flag=b"5"),
    "name of 300 bytes": _pax_path(b"n" * 300, file(b"a")),
    "sparse terabyte": pax((b"GNU.sparse.map", b""), (b"GNU.sparse.size", b"1099511627776")) + file(b"a"),
    "old sparse file without a map": header(b"data/file", flag=b"S", size=512, magic=GNU) + padded(b"x"),
    "header of 4 GiB": header(b"x", flag=b"x", size=base256(2**32, 12)),
    "damaged pax header": raw_pax(b"99 path=data/file\n") + file(b"a"),
    "negative size": header(b"data/file", size=base256(-512, 12)),
    "wrong checksum": header(b"data/file", checksum=b"000000\0 "),
    "unknown type": header(b"data/file", flag=b"Z"),
    "directory of an incremental archive": header(b"data", flag=b"D"),
    "owner out of range": pax((b"uid", b"4294967296")) + file(b"data/file", b"x"),
    "root as a device": _device(b"/", b"3", (1, 3)),
}  # fmt: skip
"""Archives that can't be believed; what comes before the error has been applied then."""

_CUT: Mapping[str, bytes] = {
    "cut in a header": file(b"data/file", b"x")[:300],
    "cut in a file": file(b"data/file", b"x" * 2000)[:1200],
    "cut after an extended header": pax((b"path", b"data/file")),
}
_BEHIND: Mapping[str, bytes] = {
    "with something behind": archive(file(b"a")) + padded(b"junk"),
    "with what is refused behind": archive(file(b"a")) + archive(file(_UP, b"x")),
}
"""Whole archives; what comes behind their end is nothing."""
_BEFORE = file(b".wh..wh..opq") + directory(b"deep") + symlink(b"alias", b"/data")
"""So that those that are refused late have done something."""
_NOT_AS_FILES = (
    "whiteout",
    "opaque",
    "aufs",
    "very deep below",
    "in place",
    "again and again",
    "mounted",
    "deep",
)
"""What some names have in common whose archives mean nothing outside of a layer, or are refused there."""


def built_layers() -> dict[str, bytes]:
    """Those that make sense."""
    return {**{name: archive(data) for name, data in BUILT.items()}, **_BEHIND}


def built_archives() -> dict[str, bytes]:
    """Those that make sense as files to copy or to unpack, without the whiteouts."""
    return {
        name: archive(data)
        for name, data in BUILT.items()
        if b".wh." not in data and not any(part in name for part in _NOT_AS_FILES)
    }


def refused_layers() -> dict[str, bytes]:
    """Those that can't be believed, after something that can."""
    whole = {name: archive(_BEFORE, data) for name, data in REFUSED.items()}
    return {**whole, **{name: _BEFORE + data for name, data in _CUT.items()}}


def unpack_attacks() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The archives of the unpacking's own tests, for a volume at /outside: what is built, what is refused.

    Of the refused ones, where a dozen links lead to the same refusal, some.
    """
    layers = {name: (case.build(b"/outside"), case.refused) for name, case in CASES.items()}
    # A hard link into a volume is left out, as if the image had the file.
    built = {
        name: data
        for name, (data, refused) in layers.items()
        if not refused or ("through it" in name and "loop" not in name)
    }
    others = [name for name in layers if name not in built and "loop" not in name]
    chosen = [name for name in others if "," not in name] + [name for name in others if "," in name][::5]
    return built, {name: layers[name][0] for name in chosen}
