"""The control groups of this process, as directories that it can see (cgroups(7))."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class OwnGroup:
    """This process's group in one hierarchy."""

    mount_point: Path
    path: Path
    """The group's directory, at or below the mount point."""
    controllers: frozenset[str]
    """Empty for the unified hierarchy, version 2."""

    @property
    def is_unified(self) -> bool:
        """Whether it is of version 2."""
        return not self.controllers


def read_own_groups() -> tuple[OwnGroup, ...]:
    """The groups of this process; none of a hierarchy that it can't see."""
    return tuple(parse_own_groups(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup")))


def parse_own_groups(mountinfo: str, membership: str) -> Iterator[OwnGroup]:
    """The same of the texts of proc(5)."""
    own = _memberships(membership)
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = frozenset(kind[2].split(",")).intersection(own) if kind[0] == "cgroup" else frozenset()
        path = own.get(next(iter(controllers), "")) if controllers or kind[0] == "cgroup2" else None
        directory = None if path is None else _below(fields[4], fields[3], path)
        if directory is not None:
            yield OwnGroup(Path(fields[4]), directory, controllers)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""


def _memberships(text: str) -> Mapping[str, str]:
    """The path of the group by controller; the unified hierarchy's is that of the empty name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers or number == "0":
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _below(mount_point: str, root: str, path: str) -> Path | None:
    """The directory of a group where `root` of its hierarchy is mounted; None where it is out of sight."""
    root = root.rstrip("/")
    if ".." in f"{root}/{path}".split("/") or not f"{path.rstrip('/')}/".startswith(f"{root}/"):
        return None
    return Path(mount_point, path[len(root) :].lstrip("/"))
