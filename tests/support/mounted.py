"""What is mounted in a directory of a test; other tests may mount elsewhere at the same time."""

from pathlib import Path

from knarr.linux.mounts import read_mount_points


def mounted_below(place: Path) -> set[str]:
    """The mount points in a directory, or at it."""
    return {path for path in read_mount_points() if Path(path).is_relative_to(place)}
