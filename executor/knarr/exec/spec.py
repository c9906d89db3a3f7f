"""What one RUN step is started with, as values that can be sent to its interpreter."""

import marshal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal, TypedDict

Network = Literal["default", "host", "none"]

DEFAULT_SHM_BYTES = 64 * 1024 * 1024
DEFAULT_HOSTNAME = "buildkitsandbox"
LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "cpu": 0,
        "fsize": 1,
        "data": 2,
        "stack": 3,
        "core": 4,
        "rss": 5,
        "nproc": 6,
        "nofile": 7,
        "memlock": 8,
        "locks": 10,
        "sigpending": 11,
        "msgqueue": 12,
        "nice": 13,
        "rtprio": 14,
        "rttime": 15,
    }
)
"""Numbers of the kernel's limits (setrlimit(2)) by docker's names."""


@dataclass(frozen=True, slots=True)
class RootMount:
    """A mount for one step at `target` inside the root: a bind of the host path `source`, or a tmpfs.

    `source` is followed by the host's rules, so a path that an image or a context had a say in must be
    resolved first. `target` must exist, except below /dev; with `make_target`, for a mount on top of an
    earlier one, what is missing of it is made there. `options` go to a tmpfs (`size=64m`); a bind has
    `noexec` among them where it may stay so, else programs run from it whatever it lies on.
    """

    target: PurePosixPath
    source: Path | None = None
    readonly: bool = False
    options: tuple[str, ...] = ()
    make_target: bool = False


class WireMount(TypedDict):
    """A `RootMount` as plain values."""

    target: str
    source: str | None
    readonly: bool
    options: tuple[str, ...]
    make_target: bool


class WireSpec(TypedDict):
    """A `RunSpec` as plain values, the way the step's interpreter reads them."""

    root: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    hostname: str
    resolv_conf: str | None
    hosts: str | None
    extra_mounts: tuple[WireMount, ...]
    network: str
    single_id: bool
    pid_namespace: bool
    in_place: bool
    shm_bytes: int
    limits: tuple[tuple[int, int, int], ...]
    parent_pid: int


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One process inside the root file system mounted, or lying, at `root`.

    `env` is exactly what the process gets. `single_id` and `pid_namespace` say what the executor's
    namespaces offer (`Namespaces.single_id`, `Isolation.pid_namespace`). `hosts` and `resolv_conf` are
    host files bound read-only. `cwd` must exist in the root. `in_place` is for a `root` that is this
    process's own: nothing is mounted then, no namespace entered.
    """

    root: Path
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: PurePosixPath = field(default=PurePosixPath("/"))
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    hostname: str = DEFAULT_HOSTNAME
    resolv_conf: Path | None = None
    hosts: Path | None = None
    extra_mounts: tuple[RootMount, ...] = ()
    network: Network = "default"
    single_id: bool = False
    pid_namespace: bool = True
    in_place: bool = False
    shm_bytes: int | None = None
    limits: tuple[tuple[str, int, int], ...] = ()
    """Names of LIMITS, with soft and hard limit; -1 is unlimited."""

    def to_wire(self, *, parent_pid: int) -> bytes:
        """The spec for `knarr.exec.init`, run by the same interpreter.

        `marshal` since it is built in: importing `json` would make each step several milliseconds slower.
        """
        wire = WireSpec(
            root=str(self.root),
            argv=self.argv,
            env=dict(self.env),
            cwd=str(self.cwd),
            uid=self.uid,
            gid=self.gid,
            groups=self.groups,
            hostname=self.hostname,
            resolv_conf=_optional(self.resolv_conf),
            hosts=_optional(self.hosts),
            extra_mounts=tuple(_wire_mount(mount) for mount in self.extra_mounts),
            network=self.network,
            single_id=self.single_id,
            pid_namespace=self.pid_namespace,
            in_place=self.in_place,
            shm_bytes=self.shm_bytes or DEFAULT_SHM_BYTES,
            limits=tuple((LIMITS[name], soft, hard) for name, soft, hard in self.limits),
            parent_pid=parent_pid,
        )
        return marshal.dumps(dict(wire))


def _optional(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _wire_mount(mount: RootMount) -> WireMount:
    return WireMount(
        target=str(mount.target),
        source=_optional(mount.source),
        readonly=mount.readonly,
        options=mount.options,
        make_target=mount.make_target,
    )
