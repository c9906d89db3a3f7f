"""Directories without anything of their parent's."""

import os
import stat
import struct
from pathlib import Path

import pytest

from knarr.linux.plain_directory import make_plain_directory

ACL = "system.posix_acl_default"
FOREIGN_GROUP = 4242


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A setgid directory with a default ACL, of a group that is not ours where we may give it one."""
    if os.geteuid() == 0:
        os.chown(tmp_path, -1, FOREIGN_GROUP)
    tmp_path.chmod(0o2777)
    entries = ((0x01, 7), (0x04, 0), (0x20, 0))
    value = b"".join(struct.pack("<HHI", *each, 0xFFFFFFFF) for each in entries)
    os.setxattr(tmp_path, ACL, struct.pack("<I", 2) + value)
    return tmp_path


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_it_has_nothing_of_its_parent(strange: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_plain_directory(strange / "made")
        make_plain_directory(strange / "closed", 0o700)
    finally:
        os.umask(before)
    for name, mode in (("made", 0o755), ("closed", 0o700)):
        found = (strange / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, os.getegid())
        assert ACL not in os.listxattr(strange / name)
        (strange / name / "below").mkdir(0o755)
        assert (strange / name / "below").stat().st_gid == os.getegid()


def test_one_that_is_there_is_left_alone(strange: Path) -> None:
    (strange / "there").mkdir()
    before = (strange / "there").stat()
    make_plain_directory(strange / "there", exist_ok=True)
    assert (strange / "there").stat().st_mode == before.st_mode
    with pytest.raises(FileExistsError):
        make_plain_directory(strange / "there")
