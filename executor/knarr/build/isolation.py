"""Where RUN steps run: the namespaces of this process, the files that every step sees."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from knarr.build.root import Directories
from knarr.errors import IsolationError, RunError, UsageError
from knarr.exec import launch
from knarr.exec.harden import harden
from knarr.exec.namespaces import Namespaces, enter
from knarr.exec.probe import Isolation, Requested, probe, probe_overlay
from knarr.exec.spec import DEFAULT_HOSTNAME, Mount, Network, RunSpec
from knarr.progress import Note, Reporter
from knarr.rootfs.unpack import OwnerPolicy
from knarr.rootfs.users import UserSpec

_MODES: Mapping[str, Requested] = {"auto": "auto", "namespace": "namespace", "none": "none"}
_STDERR = 2


@dataclass(frozen=True, slots=True)
class Command:
    """What a RUN step executes, as whom, where."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    user: UserSpec
    network: Network = "default"
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The isolation that this process has entered; `namespaces` is None without any."""

    isolation: Isolation
    directories: Directories
    namespaces: Namespaces | None
    resolv_conf: Path | None
    hosts: Path | None

    def require(self) -> Namespaces:
        """The namespaces that RUN steps need; IsolationError where there are none."""
        if self.namespaces is None:
            raise self.isolation.refusal or IsolationError(
                "a RUN step can't run without isolation",
                hint="--isolation=auto, or --isolation=namespace to see what is missing",
            )
        return self.namespaces

    @property
    def can_mount(self) -> bool:
        """Whether this process may mount, for a step or itself."""
        return self.namespaces is not None

    def run(self, root: Path, command: Command) -> None:
        """Run a command in a root file system; its output goes to stderr, unaltered.

        Raises RunError where it fails, IsolationError where nothing can be run here.
        """
        namespaces = self.require()
        spec = RunSpec(
            root=root,
            argv=command.argv,
            env=command.env,
            cwd=PurePosixPath(command.working_dir),
            uid=command.user.uid,
            gid=command.user.gid,
            # The primary group is among them, as containerd has it since CVE-2022-36109.
            groups=tuple(dict.fromkeys((command.user.gid, *command.user.supplementary_gids))),
            resolv_conf=self.resolv_conf,
            hosts=self.hosts,
            network=command.network,
            extra_mounts=command.mounts,
            single_id=namespaces.single_id,
            pid_namespace=self.isolation.pid_namespace,
        )
        status = launch.run(spec, stdout=_STDERR, stderr=_STDERR)
        if not status.ok:
            raise RunError(
                f"the process ended with status {status.code}",
                status=status.code,
                hint=_hint(status.code),
            )


def _hint(status: int) -> str:
    number = status - 128
    if number not in {*signal.Signals}:
        return "its output is above"
    name = signal.Signals(number).name
    why = "; want of memory ends processes so" if number == signal.SIGKILL else ""
    return f"{status} is 128 + {number}: {name} killed it, or a process of its own{why}"


def enter_sandbox(requested: str, work_dir: Path, reporter: Reporter) -> Sandbox:
    """Find out what isolation there is, then enter it; call it while the process has one thread.

    Raises UsageError for an unknown mode, IsolationError where the mode asked for can't be had.
    """
    mode = _MODES.get(requested)
    if mode is None:
        known = ", ".join(_MODES)
        raise UsageError(f"unknown isolation {requested!r}", hint=f"--isolation takes one of {known}")
    isolation = probe(mode)
    namespaces = enter() if isolation.mode == "namespace" else None
    harden()
    directories, how = _directories(namespaces, work_dir)
    reporter.report(
        Note(f"isolation {isolation.reason}; {how}" if namespaces else f"isolation {isolation.reason}")
    )
    return Sandbox(isolation, directories, namespaces, _resolv_conf(), _write_hosts(work_dir))


def _directories(namespaces: Namespaces | None, work_dir: Path) -> tuple[Directories, str]:
    if namespaces is None:
        return Directories(None, OwnerPolicy.KEEP), ""
    support = probe_overlay(work_dir, in_user_namespace=namespaces.in_user_namespace)
    policy = OwnerPolicy.RECORD if namespaces.single_id else OwnerPolicy.KEEP
    userxattr = support.userxattr if support.usable else None
    how = "changes by overlayfs" if support.usable else f"changes by scan ({support.reason})"
    return Directories(userxattr, policy), how


def _resolv_conf() -> Path | None:
    path = Path("/etc/resolv.conf")
    return path.resolve() if path.exists() else None


def _write_hosts(work_dir: Path) -> Path:
    """The machine's /etc/hosts, which the step's network is too, with the step's own name added."""
    try:
        text = Path("/etc/hosts").read_text(errors="surrogateescape")
    except OSError:
        text = "127.0.0.1 localhost\n::1 localhost\n"
    path = work_dir / "hosts"
    path.write_text(f"{text.rstrip()}\n127.0.0.1 {DEFAULT_HOSTNAME}\n", errors="surrogateescape")
    os.chmod(path, 0o644)
    return path
