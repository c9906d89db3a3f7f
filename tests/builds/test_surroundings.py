"""What surrounds a build is nowhere in its image: umask, ACLs, groups, mount options of where it works."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from support.builds_as import Builder, Result
from support.compare import compare
from support.flatten import flatten_layout
from support.knarr_cli import EXECUTOR
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

FOREIGN_GROUP = 4242
ACL = "system.posix_acl_default"
STAT = "stat -c '%n %a %u %g'"
DOCKERFILE = f"""\
FROM busybox AS one
RUN {STAT} / /etc /dev /dev/shm /etc/resolv.conf /etc/hosts /tmp > /seen
COPY file /made/by/copy/file
COPY dir /dir
COPY . /all
WORKDIR /work/dir
RUN mkdir /run-made x && touch y
RUN --mount=type=cache,target=/c/d --mount=type=tmpfs,target=/t/u --mount=type=bind,target=/ctx \\
    --mount=type=secret,id=s,target=/s/e --mount=type=bind,from=scratch,target=/no/thing \\
    {STAT} /c /c/d /t /s /s/e /ctx/dir/sub /ctx/file /no /no/thing >> /seen; mkdir /c/d/e; \\
    {STAT} /c/d/e >> /seen
USER 1000:1000
RUN --mount=type=bind,from=scratch,target=/no/thing ls /no/thing && \\
    cat /etc/resolv.conf /etc/hosts > /dev/null && touch /dev/shm/x && id > /tmp/id
WORKDIR /work/user
FROM scratch
COPY --from=one / /
RUN {STAT} / /etc /dev >> /seen
COPY <<EOT /here/doc
x
EOT
USER 1000
RUN ["/bin/busybox", "true"]
"""
SEEN = """\
/ 755 0 0
/etc 755 0 0
/dev 755 0 0
/dev/shm 1777 0 0
/etc/resolv.conf 644 0 0
/etc/hosts 644 0 0
/tmp 1777 0 0
/c 755 0 0
/c/d 755 0 0
/t 755 0 0
/s 755 0 0
/s/e 400 0 0
/ctx/dir/sub 755 0 0
/ctx/file 644 0 0
/no 755 0 0
/no/thing 755 0 0
/c/d/e 755 0 0
/ 755 0 0
/etc 755 0 0
/dev 755 0 0
"""
"""What BuildKit's steps see of the same Dockerfile, which is compared with Docker's file by file besides."""


FLAGS = """\
FROM busybox
USER 1000
RUN <<EOT
#!/bin/sh
while read -r _ place _ flags _; do [ $place != / ] || echo $flags > /tmp/flags; done < /proc/mounts
EOT
"""


def _acl(owner: int, group: int, other: int) -> bytes:
    """A default ACL as the kernel stores it (linux/posix_acl_xattr.h)."""
    entries = ((0x01, owner), (0x04, group), (0x20, other))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each, 0xFFFFFFFF) for each in entries)


Surround = Callable[[int, Path], AbstractContextManager[None]]


@contextmanager
def _umask(mask: int, _place: Path) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _in_group(mode: int, place: Path) -> Iterator[None]:
    """As a volume with an fsGroup is."""
    before = place.stat()
    os.chown(place, -1, FOREIGN_GROUP)
    place.chmod(mode)
    yield
    os.chown(place, -1, before.st_gid)
    place.chmod(before.st_mode & 0o7777)


@contextmanager
def _with_acl(rest: int, place: Path) -> Iterator[None]:
    os.setxattr(place, ACL, _acl(7, rest, rest))
    yield
    os.removexattr(place, ACL)


@contextmanager
def _together(_: int, place: Path) -> Iterator[None]:
    with _umask(0o077, place), _in_group(0o2777, place), _with_acl(0, place):
        yield


SURROUNDINGS: dict[str, tuple[Surround, int]] = {
    "closed-umask": (_umask, 0o077),
    "no-umask": (_umask, 0),
    "fs-group": (_in_group, 0o2777),
    "closed-acl": (_with_acl, 0),
    "open-acl": (_with_acl, 7),
    "all": (_together, 0),
}


def _build(builder: Builder, *flags: str) -> Result:
    secret = builder.place / "secret"
    secret.write_text("hush")
    secret.chmod(0o644)
    result = builder.build(DOCKERFILE, f"--secret=id=s,src={secret}", *flags)
    assert result.returncode == 0, result.output
    return result


def _write_context(builder: Builder) -> None:
    builder.write({"file": "x\n", "dir/sub/file": "y\n"})
    for path in (builder.context, *builder.context.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.slow
def test_the_image_is_the_same(builder: Builder) -> None:
    _write_context(builder)
    plain = _build(builder).image
    assert plain.files["/seen"].text == SEEN
    for name, (surround, value) in SURROUNDINGS.items():
        caches = builder.place / name
        caches.mkdir()
        caches.chmod(0o777)
        with surround(value, builder.work), surround(value, caches):
            image = _build(builder, f"--mount-cache-dir={caches}").image
        assert compare(plain, image) == [], name


def test_a_context_from_an_archive_is_as_a_directory(builder: Builder) -> None:
    """Its own directory is made here."""
    _write_context(builder)
    archive = builder.place / "context.tar"
    subprocess.run(["tar", "-C", builder.context, "-cf", archive, "file", "dir"], check=True)
    dockerfile, layout = builder.place / "Dockerfile", builder.place / "layout"
    dockerfile.write_text(
        "FROM busybox\nUSER 1000\nRUN --mount=type=bind,target=/ctx cat /ctx/file > /tmp/seen\n"
    )
    with _umask(0o077, builder.work):
        process = builder.start(
            [
                f"--context=tar://{archive}",
                f"--dockerfile={dockerfile}",
                f"--oci-layout-path={layout}",
                "--no-push",
            ]
        )
    output, _ = process.communicate(timeout=120)
    assert Result(process.returncode, output, layout).text("/tmp/seen") == "x\n"


def test_files_of_the_machine_that_nobody_may_read_are_read_by_all(
    base_registry: Registry, tmp_path: Path
) -> None:
    for name, text in (("resolv.conf", "nameserver 192.0.2.1\n"), ("hosts", "192.0.2.2 elsewhere\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(
        "FROM busybox\nUSER 1000\nRUN cat /etc/resolv.conf /etc/hosts > /tmp/seen\n"
    )
    out = tmp_path / "out"
    binds = "".join(f"mount --bind {tmp_path}/{each} /etc/{each} && " for each in ("resolv.conf", "hosts"))
    registry = f"--registry-map=docker.io={base_registry.host}"
    command = [sys.executable, "-m", "knarr", "build", str(tmp_path / "context"), "--no-push", registry]
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            f'{binds}exec "$@"',
            "sh",
            *command,
            f"--oci-layout-path={tmp_path}/out",
        ],
        env={**os.environ, "PYTHONPATH": str(EXECUTOR)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = flatten_layout(out).files["/tmp/seen"].text
    assert seen.startswith("nameserver 192.0.2.1\n192.0.2.2 elsewhere\n")


def test_programs_run_whatever_the_work_directory_is_mounted_with(root_builder: Builder) -> None:
    builder, options = root_builder, "noexec,nosuid"
    lower, upper = builder.place / "lower", builder.place / "upper"
    for path in (lower, upper):
        path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", upper], check=True)
    try:
        for name in ("files", "work"):
            (upper / name).mkdir()
        scanned = f"lowerdir={lower},upperdir={upper}/files,workdir={upper}/work,{options}"
        for mount in (["-t", "tmpfs", "-o", options], ["-t", "overlay", "-o", scanned]):
            subprocess.run(["mount", *mount, "none", builder.work], check=True)
            try:
                result = builder.build(FLAGS)
            finally:
                subprocess.run(["umount", builder.work], check=True)
            assert not {"noexec", "nosuid"} & set(result.text("/tmp/flags").strip().split(","))
    finally:
        subprocess.run(["umount", upper], check=True)
