"""The backend of namespaces: a directory for each stage, each step in mounts and processes of its own."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from knarr.builder.roots.backend import DirectoryRoot, LayerFiller, StepCommand
from knarr.builder.roots.namespace.overlay_root import OverlayRoot
from knarr.builder.roots.namespace.plain_root import PlainRoot
from knarr.builder.roots.step_process import launch_step, make_working_directory, run_spec
from knarr.exec.abilities import Abilities
from knarr.exec.namespaces import enter
from knarr.exec.probe import probe_overlay
from knarr.exec.spec import DEFAULT_HOSTNAME
from knarr.rootfs.unpacking.unpack import OwnerPolicy


class NamespaceBackend:
    """The namespaces that this process is in; `resolv_conf` and `hosts` are files that every step sees."""

    def __init__(
        self, abilities: Abilities, *, pid_namespace: bool, resolv_conf: Path | None, hosts: Path
    ) -> None:
        self._abilities = abilities
        self._pid_namespace = pid_namespace
        self._resolv_conf = resolv_conf
        self._hosts = hosts
        self._owner_policy = OwnerPolicy.RECORD if abilities.single_id else OwnerPolicy.KEEP

    @property
    def abilities(self) -> Abilities:
        """What these namespaces allow."""
        return self._abilities

    def require(self) -> None:
        """RUN steps can run."""

    def before_takeover(self, action: Callable[[], None]) -> None:
        """Steps see nothing of this process's surroundings, so nothing of them is ever replaced."""

    def trusts(self, program: Path | None) -> bool:
        """Every program is trusted: no step can change it."""
        return True

    def claim(self) -> None:
        """Each stage has its own directory."""

    def extract(self, place: Path, layers: LayerFiller, *, hash_content: bool) -> DirectoryRoot:
        """A stack of overlayfs directories; where that is refused, a plain one."""
        userxattr = self._abilities.overlay_userxattr
        if userxattr is None:
            return PlainRoot.extract(
                place, layers, owner_policy=self._owner_policy, hash_content=hash_content
            )
        return OverlayRoot.extract(place, layers, owner_policy=self._owner_policy, userxattr=userxattr)

    def run(self, root: Path, command: StepCommand) -> None:
        """Run a command with `root` as its root directory. Raises RunError, IsolationError."""
        make_working_directory(root, command.working_dir)
        launch_step(
            dataclasses.replace(
                run_spec(root, command),
                resolv_conf=self._resolv_conf,
                hosts=_with_hosts(self._hosts, command.hosts),
                extra_mounts=command.mounts,
                single_id=self._abilities.single_id,
                pid_namespace=self._pid_namespace,
            )
        )

    def close(self) -> None:
        """There is nothing to undo: the namespaces end with this process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


def enter_namespaces(work_dir: Path, *, pid_namespace: bool) -> tuple[NamespaceBackend, str]:
    """Enter new namespaces; with the backend comes how it finds changes, for the log.

    `pid_namespace` says whether a step gets its own processes. Raises IsolationError.
    """
    namespaces = enter()
    support = probe_overlay(work_dir, in_user_namespace=namespaces.in_user_namespace)
    abilities = Abilities(
        can_run=True,
        can_mount=True,
        single_id=namespaces.single_id,
        overlay_userxattr=support.userxattr if support.usable else None,
        one_root=False,
    )
    backend = NamespaceBackend(
        abilities,
        pid_namespace=pid_namespace,
        resolv_conf=_write_resolv_conf(work_dir),
        hosts=_write_hosts(work_dir),
    )
    return backend, "changes by overlayfs" if support.usable else f"changes by scan ({support.reason})"


def _write_resolv_conf(work_dir: Path) -> Path | None:
    """The machine's /etc/resolv.conf for every user of a step to read, whatever its own mode is."""
    try:
        data = Path("/etc/resolv.conf").read_bytes()
    except OSError:
        return None
    return _write_for_all(work_dir / "resolv.conf", data)


def _with_hosts(hosts: Path, added: tuple[tuple[str, str], ...]) -> Path:
    """The file with more names in front, which come before what the machine says of them."""
    if not added:
        return hosts
    path = hosts.with_name("hosts-added")
    lines = "".join(f"{address}\t{name}\n" for name, address in added)
    path.write_text(lines + hosts.read_text(errors="surrogateescape"), errors="surrogateescape")
    os.chmod(path, 0o644)
    return path


def _write_hosts(work_dir: Path) -> Path:
    """The machine's /etc/hosts, which the step's network is too, with the step's own name added."""
    try:
        text = Path("/etc/hosts").read_text(errors="surrogateescape")
    except OSError:
        text = "127.0.0.1 localhost\n::1 localhost\n"
    lines = f"{text.rstrip()}\n127.0.0.1 {DEFAULT_HOSTNAME}\n"
    return _write_for_all(work_dir / "hosts", lines.encode(errors="surrogateescape"))


def _write_for_all(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    os.chmod(path, 0o644)
    return path
