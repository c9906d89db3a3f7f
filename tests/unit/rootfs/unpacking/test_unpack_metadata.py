import ctypes
import errno
import io
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from knarr.errors import CorruptError, IsolationError
from knarr.layers.tar.read import TarReader
from knarr.rootfs.inode import OWNER_XATTR
from knarr.rootfs.unpacking.unpack import AppliedLayer, OwnerPolicy, apply_layer
from unit.layers.tar.raw_tar import archive, directory, file, header, padded, pax, symlink

NOBODY = 65534
CLONE_NEWUSER = 0x10000000
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_bind_service=ep"""

Result = TypeVar("Result")


def apply(root: Path | int, *parts: bytes, policy: OwnerPolicy = OwnerPolicy.KEEP) -> AppliedLayer:
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY) if isinstance(root, Path) else root
    try:
        return apply_layer(root_fd, TarReader(io.BytesIO(archive(*parts))), owner_policy=policy)
    finally:
        if isinstance(root, Path):
            os.close(root_fd)


def in_child(prepare: Callable[[], None], work: Callable[[], Result]) -> Result:
    """Do work in a child process that gave up rights."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            prepare()
            outcome: object = work()
        except BaseException as error:
            outcome = error
        with os.fdopen(writable, "wb") as pipe:
            pickle.dump(outcome, pipe)
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        outcome = pickle.load(pipe)
    os.waitpid(child, 0)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome  # type: ignore[return-value]


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def enter_user_namespace() -> None:
    """One where our own user is root, and nobody else exists."""
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def owner(path: Path) -> tuple[int, int]:
    return os.lstat(path).st_uid, os.lstat(path).st_gid


def test_attributes_of_users_are_kept(tmp_path: Path) -> None:
    own = os.geteuid(), os.getegid()
    attribute = pax((b"SCHILY.xattr.user.a", b"\0\xff"), (b"SCHILY.xattr.user.empty", b""))
    apply(
        tmp_path,
        attribute + header(b"f", uid=own[0], gid=own[1]),
        attribute + header(b"d", flag=b"5", mode=0o755, uid=own[0], gid=own[1]),
    )
    for name in ("f", "d"):
        found = {key: os.getxattr(tmp_path / name, key) for key in os.listxattr(tmp_path / name)}
        assert found == {"user.a": b"\0\xff", "user.empty": b""}


def test_attributes_that_steer_the_file_system_or_us_are_left_out(tmp_path: Path) -> None:
    names = (
        b"trusted.overlay.opaque",
        b"user.overlay.whiteout",
        b"user.knarr.owner",
        b"trusted.overlay.metacopy",
    )
    attributes = pax(*((b"SCHILY.xattr." + name, b"y") for name in names))
    result = apply(tmp_path, attributes + file(b"f"), attributes + directory(b"d"), policy=OwnerPolicy.RECORD)
    assert {loss.what for loss in result.losses} >= {
        f"the extended attribute {name.decode()}" for name in names
    }
    for name in ("f", "d"):
        assert set(os.listxattr(tmp_path / name)) <= {OWNER_XATTR}
        if os.geteuid() == 0:
            assert os.listxattr(tmp_path / name) == []


def test_many_kinds_of_losses_take_a_few_lines(tmp_path: Path) -> None:
    many = pax(*((b"SCHILY.xattr.user.overlay.%d" % number, b"") for number in range(500)))
    losses = apply(tmp_path, many + file(b"f"), policy=OwnerPolicy.RECORD).losses
    assert len(losses) == 101
    assert sum(loss.count for loss in losses) >= 500


@pytest.mark.root
def test_owners_modes_and_capabilities(tmp_path: Path) -> None:
    capability = pax((b"SCHILY.xattr.security.capability", CAPABILITY), (b"SCHILY.xattr.trusted.x", b"y"))
    result = apply(
        tmp_path,
        header(b"su", mode=0o6755, uid=7, gid=8, size=1) + padded(b"x"),
        capability + header(b"cap", mode=0o755, uid=7, size=1) + padded(b"x"),
        header(b"d", flag=b"5", mode=0o3770, uid=1, gid=2),
        header(b"l", flag=b"2", mode=0o777, uid=3, gid=4, link=b"su"),
        header(b"p", flag=b"6", mode=0o600, uid=5, gid=6),
        header(b"c", flag=b"3", mode=0o622, uid=5, gid=6, device=(1, 3)),
        header(b"b", flag=b"4", mode=0o660, device=(7, 300)),
        pax((b"uid", b"4294967294"), (b"gid", b"4294967294")) + file(b"max"),
    )
    assert result.losses == ()
    assert {name: (mode(tmp_path / name), *owner(tmp_path / name)) for name in os.listdir(tmp_path)} == {
        "su": (0o6755, 7, 8),
        "cap": (0o755, 7, 0),
        "d": (0o3770, 1, 2),
        "l": (0o777, 3, 4),
        "p": (0o600, 5, 6),
        "c": (0o622, 5, 6),
        "b": (0o660, 0, 0),
        "max": (0o644, 4294967294, 4294967294),
    }
    assert os.getxattr(tmp_path / "cap", "security.capability") == CAPABILITY
    assert os.getxattr(tmp_path / "cap", "trusted.x") == b"y"
    assert os.lstat(tmp_path / "c").st_rdev == os.makedev(1, 3)
    assert os.lstat(tmp_path / "b").st_rdev == os.makedev(7, 300)


@pytest.mark.root
def test_a_setgid_directory_gives_its_group_to_nothing(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, 50)
    os.chmod(tmp_path, 0o2755)
    apply(
        tmp_path,
        file(b"f"),
        directory(b"d"),
        symlink(b"l", b"f"),
        file(b"implied/x"),
        header(b"s", flag=b"5", mode=0o2775, gid=60),
        file(b"s/f"),
        directory(b"s/d"),
        header(b"p", flag=b"6"),
    )
    for name in ("f", "d", "l", "implied", "implied/x", "s/f", "s/d", "p"):
        assert owner(tmp_path / name) == (0, 0), name
    assert [mode(tmp_path / name) for name in ("d", "implied", "s/d", "s")] == [0o755, 0o755, 0o755, 0o2775]
    apply(tmp_path, header(b"d", flag=b"5", mode=0o2755, gid=60), file(b"d/f"))
    assert owner(tmp_path / "d/f") == (0, 0)


@pytest.mark.root
def test_a_directory_of_a_lower_layer_takes_the_new_metadata(tmp_path: Path) -> None:
    apply(tmp_path, header(b"d", flag=b"5", mode=0o700, uid=9, gid=9, mtime=5), file(b"d/f"))
    apply(tmp_path, header(b"d", flag=b"5", mode=0o1755, mtime=6))
    assert (mode(tmp_path / "d"), owner(tmp_path / "d")) == (0o1755, (0, 0))
    assert os.stat(tmp_path / "d").st_mtime == 6
    assert (tmp_path / "d/f").exists()


@pytest.mark.root
def test_replacing_a_link_of_a_set_id_file_leaves_the_file_alone(tmp_path: Path) -> None:
    apply(
        tmp_path,
        header(b"su", mode=0o4755, size=1) + padded(b"x"),
        header(b"su2", flag=b"1", link=b"su", mode=0o4755),
    )
    apply(tmp_path, file(b"su2", b"new"))
    assert (mode(tmp_path / "su"), (tmp_path / "su").read_bytes()) == (0o4755, b"x")


@pytest.mark.root
def test_an_impossible_attribute_is_corrupt(tmp_path: Path) -> None:
    for name, value in (
        (b"security.capability", b"junk"),
        (b"user." + b"n" * 300, b""),
        (b"user.big", b"x" * 70_000),
    ):
        with pytest.raises(CorruptError, match="extended attribute"):
            apply(tmp_path, pax((b"SCHILY.xattr." + name, value)) + file(b"f"))


@pytest.mark.root
@pytest.mark.parametrize("prepare", [become_nobody, enter_user_namespace])
def test_owners_that_cannot_be_kept_are_recorded(tmp_path: Path, prepare: Callable[[], None]) -> None:
    if prepare is become_nobody:
        os.chown(tmp_path, NOBODY, NOBODY)
    root_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    trusted = pax((b"SCHILY.xattr.trusted.x", b"y"))

    def work() -> AppliedLayer:
        return apply(
            root_fd,
            header(b"f", mode=0o444, uid=1000, gid=50, size=1) + padded(b"x"),
            trusted + header(b"d", flag=b"5", mode=0o750, uid=33, gid=33),
            header(b"l", flag=b"2", mode=0o777, uid=33, link=b"f"),
            header(b"null", flag=b"3", mode=0o666, device=(1, 3)),
            header(b"h", flag=b"1", mode=0o444, uid=1000, gid=50, link=b"f"),
            policy=OwnerPolicy.RECORD,
        )

    result = in_child(prepare, work)
    os.close(root_fd)
    assert sorted(os.listdir(tmp_path)) == ["d", "f", "h", "l"]
    assert (mode(tmp_path / "f"), mode(tmp_path / "d")) == (0o444, 0o750)
    assert os.getxattr(tmp_path / "f", OWNER_XATTR) == b"1000:50"
    assert os.getxattr(tmp_path / "d", OWNER_XATTR) == b"33:33"
    assert [loss.what for loss in result.losses] == [
        "the extended attribute trusted.x",
        "the owner of a symlink",
        "a char device",
    ]


@pytest.mark.root
def test_an_owner_is_forgotten_when_a_layer_gives_another(tmp_path: Path) -> None:
    root_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)

    def work() -> None:
        for uid in (33, 34, 0):
            part = header(b"d", flag=b"5", mode=0o755, uid=uid, gid=uid)
            apply(root_fd, part, policy=OwnerPolicy.RECORD)
            name = str(uid)
            with open(name, "wb", opener=lambda path, flags: os.open(path, flags, dir_fd=root_fd)) as seen:
                seen.write(_recorded(root_fd))

    in_child(enter_user_namespace, work)
    os.close(root_fd)
    assert [(tmp_path / name).read_bytes() for name in ("33", "34", "0")] == [b"33:33", b"34:34", b""]


def _recorded(root_fd: int) -> bytes:
    try:
        return os.getxattr(f"/proc/self/fd/{root_fd}/d", OWNER_XATTR)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return b""


@pytest.mark.root
@pytest.mark.parametrize("prepare", [become_nobody, enter_user_namespace])
@pytest.mark.parametrize(
    "part",
    [file(b"f", uid=12345), symlink(b"l", b"x")[:-512] + header(b"l", flag=b"2", link=b"x", uid=12345)],
)
def test_an_owner_that_must_be_kept_ends_it(tmp_path: Path, prepare: Callable[[], None], part: bytes) -> None:
    os.chmod(tmp_path, 0o777)
    root_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(IsolationError, match="can't give it to 12345"):
        in_child(prepare, lambda: apply(root_fd, part))
    os.close(root_fd)
