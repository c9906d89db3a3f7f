"""The working directory of a step, made where the image lacks it."""

from pathlib import Path

import pytest

from knarr.builder.roots.step_process import make_working_directory
from knarr.rootfs.users import UserSpec

APP = UserSpec(1000, 50, (), "/")


def facts(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


@pytest.mark.root
def test_what_is_made_is_the_users_and_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o711)
    (tmp_path / "link").symlink_to("/there")
    before = facts(tmp_path / "there")
    make_working_directory(tmp_path, "/link/new/deep", APP)
    make_working_directory(tmp_path, "/there", APP)
    assert facts(tmp_path / "there") == before
    for path in ("there/new", "there/new/deep"):
        assert facts(tmp_path / path) == (1000, 50, 0o755)


@pytest.mark.root
def test_a_setgid_parent_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    make_working_directory(tmp_path, "/shared/work/", APP)
    assert facts(tmp_path / "shared/work") == (1000, 50, 0o755)
