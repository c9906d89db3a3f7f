"""Trees that `shutil` doesn't take."""

import os
import subprocess
from pathlib import Path

from knarr.rootfs.discard import discard_tree


def test_any_depth(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    place = tmp_path / "place"
    deep = "/".join(["d"] * 1500)
    subprocess.run(["mkdir", "--parents", place / deep], check=True)
    (place / deep / "link").symlink_to(outside)
    discard_tree(place)
    assert os.listdir(tmp_path) == ["outside"]


def test_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    discard_tree(tmp_path / "nothing")
    discard_tree(tmp_path / "no/thing")
    (tmp_path / "file").write_text("x")
    discard_tree(tmp_path / "file")
    assert os.listdir(tmp_path) == []
