"""Secrets and ConfigMaps as the kubelet mounts them: each key a link to a file of the present generation."""

from collections.abc import Mapping
from pathlib import Path

_GENERATION = "..2020_02_01_03_04_05.123456789"


def secret_volume(directory: Path, files: Mapping[str, str]) -> Path:
    """Make the directory with these keys; the result is its path."""
    (directory / _GENERATION).mkdir(parents=True)
    (directory / "..data").symlink_to(_GENERATION)
    for name, content in files.items():
        (directory / _GENERATION / name).write_text(content)
        (directory / name).symlink_to(f"..data/{name}")
    return directory
