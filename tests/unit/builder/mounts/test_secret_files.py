"""Secrets as files: in memory where this process can mount, gone when the step ends."""

import os
import stat
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from knarr.builder.mounts.secret_files import SecretFiles
from knarr.dockerfile.language.mount import Mount, MountType
from knarr.errors import IsolationError
from support.fake_backend import PLAIN
from support.mounted import mounted_below

SECRET = Mount(type=MountType.SECRET, target="/run/secrets/a", id="a", mode=0o440, uid=7, gid=8)


def test_a_secret_has_its_mode(tmp_path: Path) -> None:
    with ExitStack() as exits:
        files = SecretFiles(tmp_path / "secrets", exits, PLAIN)
        assert not (tmp_path / "secrets").exists()
        one, other = files.write(SECRET, b"hush"), files.write(SECRET, b"hush too")
        assert (one.read_bytes(), other.read_bytes()) == (b"hush", b"hush too")
        assert stat.S_IMODE(one.stat().st_mode) == 0o440
        assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
        assert one.stat().st_uid == os.geteuid()


@pytest.mark.root
def test_a_secret_is_in_memory_and_its_owners(tmp_path: Path) -> None:
    place = tmp_path / "secrets"
    with ExitStack() as exits:
        files = SecretFiles(place, exits, replace(PLAIN, can_mount=True, single_id=False))
        facts = files.write(SECRET, b"hush").stat()
        assert (facts.st_uid, facts.st_gid) == (7, 8)
        assert mounted_below(tmp_path) == {str(place)}
    assert mounted_below(tmp_path) == set()
    assert os.listdir(place) == []


def test_a_place_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with ExitStack() as exits, pytest.raises(IsolationError, match="can't keep the secret a for a step"):
        SecretFiles(tmp_path, exits, PLAIN).write(SECRET, b"hush")
