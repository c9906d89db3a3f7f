"""The executor's image for arm64: its own programs build and push, run by an emulator of that processor."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.version import __version__
from support.bases import cache_directory
from support.builds import MANIFEST_TYPE
from support.executor_root import extract_executor
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.root]

REPOSITORY = Path(__file__).parents[2]
EMULATOR = "qemu-aarch64-static"
PYTHON = ("/knarr/bin/python3.11", "-ISBXutf8", "/knarr/bin/knarr")
MOUNTS = "mount --rbind /dev dev && mount -t proc proc proc && exec chroot . "


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The image's files in a directory of memory, with the emulator."""
    with tempfile.TemporaryDirectory(prefix="knarr-arm64-", dir="/dev/shm") as place:
        command = [sys.executable, "-m", "scripts.image", f"--output={place}", "--architecture=arm64"]
        downloads = f"--downloads={cache_directory()}/image-downloads"
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "executor")}
        subprocess.run([*command, downloads], check=True, cwd=REPOSITORY, env=environment)
        root = Path(place, "root")
        extract_executor(Path(place, "executor-arm64.tar"), root)
        emulator = shutil.which(EMULATOR)
        assert emulator
        shutil.copy(emulator, root / "emulator")
        yield root


def _run(root: Path, *command: str) -> str:
    inside = ["unshare", "--mount", "--propagation=private", "sh", "-c", MOUNTS + '"$@"', "sh", "/emulator"]
    environment = {"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": "/root"}
    done = subprocess.run([*inside, *command], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_programs_are_of_that_processor(root: Path) -> None:
    assert _run(root, *PYTHON, "version") == f"knarr {__version__}\n"
    assert _run(root, "/knarr/bin/busybox", "uname", "-m") == "aarch64\n"


def test_it_builds_for_its_own_platform(root: Path, base_registry: Registry) -> None:
    (root / "workspace").mkdir(exist_ok=True)
    (root / "workspace/file").write_text("from the context\n")
    (root / "workspace/Dockerfile").write_text("FROM multiarch\nWORKDIR /made\nCOPY file copied\n")
    registry = (f"--registry-map=docker.io={base_registry.host}", "--insecure")
    destination = f"--destination={base_registry.host}/image/arm64:1"
    _run(root, *PYTHON, "build", "/workspace", "--isolation=none", *registry, destination)
    manifest = json.loads(base_registry.get("image/arm64/manifests/1", {"Accept": MANIFEST_TYPE}))
    config = json.loads(base_registry.get(f"image/arm64/blobs/{manifest['config']['digest']}"))
    assert (config["os"], config["architecture"]) == ("linux", "arm64")
    assert config["config"]["WorkingDir"] == "/made"
