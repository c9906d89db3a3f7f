"""Sources of mounts held by a bind: what a path means is settled once, inside its root."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import knarr

pytestmark = pytest.mark.root

# A process of its own: entering namespaces can't be undone. The other one swaps a directory and a link.
PINNER = """
import json, os, sys
from pathlib import Path
from knarr.exec import namespaces
from knarr.linux.overlay import unmount
from knarr.linux.pin import pin
place, path, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
namespaces.enter()
seen = {}
for number in range(rounds):
    held = place / f"held{number}"
    try:
        pin(place / "root", path, held)
    except OSError as error:
        found = type(error).__name__
    else:
        found = held.read_text() if held.is_file() else ",".join(sorted(os.listdir(held)))
        try:
            (held / "written").touch() if held.is_dir() else held.write_text("written")
        except OSError as error:
            assert error.errno == 30, error
        else:
            found = "writable"
        unmount(held)
    seen[found] = seen.get(found, 0) + 1
print(json.dumps(seen))
"""
SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
while True:
    os.rename("way", "spare"); os.rename("link", "way")
    os.rename("way", "link"); os.rename("spare", "way")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "root/way").mkdir(parents=True)
    (tmp_path / "root/way/file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    return tmp_path


def pinned(place: Path, path: str, rounds: int = 1) -> dict[str, int]:
    command = [sys.executable, "-c", PINNER, str(place), path, str(rounds)]
    environment = {"PYTHONPATH": str(Path(knarr.__file__).parent.parent)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", "link,way"),
        ("/", "link,way"),
        ("way", "file"),
        ("/way/file", "inside"),
        ("../../way/./file", "inside"),
        ("link", "FileNotFoundError"),
        ("link/file", "FileNotFoundError"),
        ("nothing", "FileNotFoundError"),
        ("way/file/x", "NotADirectoryError"),
    ],
)
def test_paths(place: Path, path: str, found: str) -> None:
    (place / "root/link").symlink_to(place / "outside")
    assert pinned(place, path) == {found: 1}


def test_link_to_the_root(place: Path) -> None:
    (place / "root/link").symlink_to("../../../../..")
    assert pinned(place, "link/link") == {"link,way": 1}


def test_swapped_for_a_link_meanwhile(place: Path) -> None:
    (place / "root/link").symlink_to("../outside")
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, str(place / "root")])
    try:
        seen = pinned(place, "way/file", rounds=2000)
    finally:
        swapper.kill()
        swapper.wait()
    # BlockingIOError: the kernel saw the path change while it resolved a "..".
    assert set(seen) <= {"inside", "FileNotFoundError", "BlockingIOError"}
    assert seen["inside"] > 0
    assert (place / "outside/file").read_text() == "outside"
