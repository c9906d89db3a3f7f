"""Volumes of a container, and a look at them that shows every change."""

import json
from collections.abc import Iterable
from pathlib import Path

VOLUMES = ("/workspace", "/cache", "/tmp", "/data", "/deep/er/volume")


def make_volumes(place: Path, targets: Iterable[str] = VOLUMES) -> list[str]:
    """Directories with files below `place`, and a file; the result are the options that mount them."""
    options = []
    for target in targets:
        directory = place / Path(target).name
        (directory / "dir").mkdir(parents=True)
        (directory / "file").write_text(target)
        (directory / "dir/file").write_text("deep")
        (directory / "dir/link").symlink_to("/etc/passwd")
        options.append(f"--volume={directory}:{target}")
    (place / "app.conf").write_text("setting")
    return [*options, f"--volume={place}/app.conf:/etc/app.conf"]


def look_at(place: Path) -> str:
    """All that a change of a volume would change; access times and those of links to it are not."""
    seen = {}
    for path in sorted([place, *place.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        seen[str(path)] = [*status[:7], status.st_mtime_ns, status.st_ctime_ns, content.decode()]
    return json.dumps(seen, indent=0)
