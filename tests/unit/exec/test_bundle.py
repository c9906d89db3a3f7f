"""What belongs to an image of ours."""

from pathlib import Path

import pytest

from knarr.errors import IsolationError
from knarr.exec.bundle import is_lasting, own_directories, runs_from_image
from knarr.exec.probe import probe


@pytest.mark.parametrize("path", ["/knarr", "/knarr/bin", "/kaniko/ssl/certs"])
def test_lasting(path: str) -> None:
    assert is_lasting(Path(path))


@pytest.mark.parametrize("path", ["/", "/usr/local/bin", "/kanikos", "/busybox", "", "knarr/bin"])
def test_not_lasting(path: str) -> None:
    assert not is_lasting(Path(path))


def test_this_machine_is_no_image() -> None:
    assert not runs_from_image()
    assert all(path.is_absolute() and path.is_dir() for path in own_directories())


def test_no_flag_makes_it_one() -> None:
    for force in (False, True):
        with pytest.raises(IsolationError, match="this is no container of a knarr image"):
            probe("inplace", force=force)
