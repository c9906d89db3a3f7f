"""The members of the small base images: what each of them holds, layer by layer."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.image_layout import Member

_BUSYBOX = Path("/bin/busybox")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:App:/home/app:/bin/sh
extra:x:1001:100:Has supplementary groups:/home/extra:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
wheel:x:10:root,extra
staff:x:50:extra
users:x:100:
app:x:1000:
nogroup:x:65534:
"""
_DIRECTORIES: Sequence[tuple[str, int]] = (
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/app", 0o750),
    ("home/extra", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
)


@dataclass(frozen=True, slots=True)
class Contents:
    """One base image of one platform: its layers from the lowest up, with its run configuration."""

    layers: Sequence[Sequence[Member]]
    config: Mapping[str, Any] = field(default_factory=lambda: {"Env": [_PATH], "Cmd": ["sh"]})
    architecture: str = "amd64"


def small_bases() -> Mapping[str, Sequence[Contents]]:
    """Give the small bases by repository name; one with two platforms has two entries."""
    busybox = busybox_members()
    return {
        "busybox": [Contents([busybox])],
        "layered": [Contents([busybox, *_changing_layers()])],
        "onbuild": [Contents([busybox], {"Env": [_PATH], "OnBuild": list(_TRIGGERS)})],
        "fullconfig": [Contents([busybox], _FULL_CONFIG)],
        "multiarch": [
            Contents(
                [busybox, [Member("etc/arch-name", content=f"{name}\n".encode())]],
                {"Env": [_PATH], "Cmd": ["sh"]},
                name,
            )
            for name in ("amd64", "arm64")
        ],
        "bare": [Contents([[Member("bin", "dir"), _busybox_binary()]], {})],
    }


def busybox_members() -> list[Member]:
    """Give a root file system of Debian's static busybox with a few users."""
    listed = subprocess.run([_BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    return [
        *(Member(path, "dir", mode=mode, uid=_owner(path), gid=_owner(path)) for path, mode in _DIRECTORIES),
        _busybox_binary(),
        *(
            Member(f"bin/{applet}", "symlink", target="busybox")
            for applet in sorted(listed)
            if applet != "busybox"
        ),
        Member("etc/passwd", content=_PASSWD.encode()),
        Member("etc/group", content=_GROUP.encode()),
        Member("etc/shadow", content=b"root:*:::::::\n", mode=0o640, gid=10),
    ]


def _busybox_binary() -> Member:
    return Member("bin/busybox", content=_BUSYBOX.read_bytes(), mode=0o755)


def _owner(path: str) -> int:
    return {"home/app": 1000, "home/extra": 1001}.get(path, 0)


def _changing_layers() -> Sequence[Sequence[Member]]:
    """A layer with something of every sort, then one that deletes, hides, replaces or unlinks it."""
    first = [
        Member("data", "dir", mode=0o2775, uid=1000, gid=50),
        Member("data/keep", content=b"keep\n", uid=1000, gid=1000, mode=0o640),
        Member("data/gone", content=b"gone\n"),
        Member("data/dir", "dir"),
        Member("data/dir/a", content=b"a\n"),
        Member("data/dir/b", content=b"b\n"),
        Member("data/opaque", "dir"),
        Member("data/opaque/old", content=b"old\n"),
        Member("data/opaque/deep", "dir"),
        Member("data/opaque/deep/old", content=b"old\n"),
        Member("data/becomes-file", "dir"),
        Member("data/becomes-file/inside", content=b"inside\n"),
        Member("data/becomes-dir", content=b"a file\n"),
        Member("data/link1", content=b"linked\n", mode=0o600),
        Member("data/link2", "hardlink", target="data/link1"),
        Member("data/link3", "hardlink", target="data/link1"),
        Member("data/fifo", "fifo", mode=0o622),
        Member("data/marked", content=b"marked\n", xattrs={"user.knarr": b"\x00value\n"}),
        Member("data/setuid", content=b"#!/bin/sh\n", mode=0o6755),
        Member("to-data", "symlink", target="data"),
        Member("dangling", "symlink", target="/nowhere/at/all"),
    ]
    second = [
        Member("data", "dir", mode=0o2775, uid=1000, gid=50),
        Member("data/.wh.gone"),
        Member("data/dir", "dir", mode=0o700),
        Member("data/dir/.wh.a"),
        Member("data/opaque", "dir"),
        Member("data/opaque/.wh..wh..opq"),
        Member("data/opaque/new", content=b"new\n"),
        Member("data/becomes-file", content=b"now a file\n"),
        Member("data/becomes-dir", "dir"),
        Member("data/becomes-dir/inside", content=b"inside\n"),
        Member("data/link2", content=b"its own now\n"),
        Member("data/pair1", content=b"pair\n"),
        Member("data/pair2", "hardlink", target="data/pair1"),
    ]
    return first, second


_TRIGGERS = (
    "ARG FLAVOUR=plain",
    "ENV TRIGGERED=yes",
    "COPY onbuild.txt /onbuild/",
    "RUN echo $TRIGGERED $FLAVOUR > /onbuild/flavour",
    "WORKDIR /onbuild",
)

_FULL_CONFIG: Mapping[str, Any] = {
    "User": "app",
    "Env": [_PATH, "FROM_BASE=base value", "EMPTY="],
    "Entrypoint": ["/bin/echo", "base"],
    "Cmd": ["default", "arguments"],
    "WorkingDir": "/home/app",
    "Labels": {"base.name": "fullconfig", "base.other": "with space"},
    "Volumes": {"/base-volume": {}},
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Shell": ["/bin/ash", "-e", "-c"],
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 30_000_000_000, "Retries": 2},
}
