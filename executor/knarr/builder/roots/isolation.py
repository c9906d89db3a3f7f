"""Where RUN steps run: the namespaces of this process, the files that every step sees."""

import dataclasses
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

from knarr.builder.roots.inplace.mounts import moved_in
from knarr.builder.roots.inplace.root import SharedRoot
from knarr.builder.roots.stage_root import Directories
from knarr.errors import IsolationError, RunError, UsageError
from knarr.exec import launch
from knarr.exec.bundle import BUNDLE, CONFIGURATION, own_directories
from knarr.exec.namespaces import Namespaces, enter, harden, stay
from knarr.exec.probe import Isolation, Mode, Requested, probe, probe_overlay
from knarr.exec.spec import DEFAULT_HOSTNAME, Mount, Network, RunSpec
from knarr.progress import Note, Reporter
from knarr.rootfs.paths import make_directories
from knarr.rootfs.unpack import OwnerPolicy
from knarr.rootfs.users import UserSpec

_MODES: Mapping[str, Requested] = {
    "auto": "auto",
    "namespace": "namespace",
    "inplace": "inplace",
    "none": "none",
}
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
    def can_run(self) -> bool:
        """Whether there are namespaces, or a root directory, for RUN steps."""
        return self.namespaces is not None

    @property
    def can_mount(self) -> bool:
        """Whether this process may mount, for a step or itself; else things are moved into their places."""
        return self.directories.shared is None

    def prepare(self, action: Callable[[], None]) -> None:
        """Have something done before files of this process's own surroundings are replaced, if ever."""
        if self.directories.shared is not None:
            self.directories.shared.preparations.append(action)

    def trusts(self, program: Path | None) -> bool:
        """Whether a program will still be what it is now when a build has run steps in place."""
        shared = self.directories.shared
        return shared is None or program is None or any(program.is_relative_to(each) for each in _lasting())

    def close(self) -> None:
        """Give the container its own files back, where a build took their place; may be called again."""
        if self.directories.shared is not None:
            self.directories.shared.restore()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `close`; but nothing is given back to a container that is about to end."""
        if self.directories.shared is not None:
            self.directories.shared.end(error)

    def run(self, root: Path, command: Command) -> None:
        """Run a command in a root file system; its output goes to stderr, unaltered.

        Raises RunError where it fails, IsolationError where nothing can be run here.
        """
        if self.directories.shared is not None:
            self._run_in_place(self.directories.shared, root, command)
            return
        namespaces = self.require()
        _make_working_directory(root, command.working_dir)
        spec = dataclasses.replace(
            _spec(root, command),
            resolv_conf=self.resolv_conf,
            hosts=self.hosts,
            extra_mounts=command.mounts,
            single_id=namespaces.single_id,
            pid_namespace=self.isolation.pid_namespace,
        )
        _launch(spec)

    def _run_in_place(self, shared: SharedRoot, root: Path, command: Command) -> None:
        if command.network == "none":
            raise IsolationError(
                "RUN --network=none can't be run in place", hint="it needs namespaces: --isolation=namespace"
            )
        spec = dataclasses.replace(_spec(root, command), pid_namespace=False, in_place=True)
        with shared.working_in(command.working_dir):
            _make_working_directory(root, command.working_dir)
            with moved_in(shared, command.mounts):
                _launch(spec)


def _lasting() -> tuple[Path, ...]:
    """Directories that no build in place touches."""
    return (BUNDLE, CONFIGURATION, *own_directories())


def _spec(root: Path, command: Command) -> RunSpec:
    """What every step has."""
    return RunSpec(
        root=root,
        argv=command.argv,
        env=command.env,
        cwd=PurePosixPath(command.working_dir),
        uid=command.user.uid,
        gid=command.user.gid,
        # The primary group is among them, as containerd has it since CVE-2022-36109.
        groups=tuple(dict.fromkeys((command.user.gid, *command.user.supplementary_gids))),
        network=command.network,
    )


def _make_working_directory(root: Path, path: str) -> None:
    """A base image may name a working directory that it doesn't have; runtimes make it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_directories(descriptor, path.strip("/"))
    finally:
        os.close(descriptor)


def _launch(spec: RunSpec) -> None:
    status = launch.run(spec, stdout=_STDERR, stderr=_STDERR)
    if not status.ok:
        raise RunError(
            f"the process ended with status {status.code}", status=status.code, hint=_hint(status.code)
        )


def _hint(status: int) -> str:
    number = status - 128
    if number not in {*signal.Signals}:
        return "its output is in the log above"
    name = signal.Signals(number).name
    why = "; want of memory ends processes so" if number == signal.SIGKILL else ""
    return f"{status} is 128 + {number}: {name} killed it, or a process of its own{why}"


def enter_sandbox(
    requested: str, work_dir: Path, reporter: Reporter, *, force: bool = False, kept: Iterable[Path] = ()
) -> Sandbox:
    """Find out what isolation there is, then enter it; call it while the process has one thread.

    In place, what is at `kept` stays out of the build's way. Raises UsageError for an unknown mode,
    IsolationError where the mode asked for can't be had.
    """
    mode = _MODES.get(requested)
    if mode is None:
        known = ", ".join(_MODES)
        raise UsageError(f"unknown isolation {requested!r}", hint=f"--isolation takes one of {known}")
    isolation = probe(mode, force=force)
    namespaces, directories, how = _ENTER[isolation.mode](work_dir, reporter, kept)
    harden()
    reporter.report(Note(f"isolation {isolation.reason}; {how}" if how else f"isolation {isolation.reason}"))
    return Sandbox(isolation, directories, namespaces, _resolv_conf(), _write_hosts(work_dir))


_Entered = tuple[Namespaces | None, Directories, str]


def _enter_namespaces(work_dir: Path, _reporter: Reporter, _kept: Iterable[Path]) -> _Entered:
    namespaces = enter()
    support = probe_overlay(work_dir, in_user_namespace=namespaces.in_user_namespace)
    policy = OwnerPolicy.RECORD if namespaces.single_id else OwnerPolicy.KEEP
    userxattr = support.userxattr if support.usable else None
    how = "changes by overlayfs" if support.usable else f"changes by scan ({support.reason})"
    return namespaces, Directories(userxattr, policy), how


def _stay_in_place(work_dir: Path, reporter: Reporter, kept: Iterable[Path]) -> _Entered:
    shared = SharedRoot(work_dir, (*_lasting(), *kept), reporter)
    return stay(), Directories(None, OwnerPolicy.KEEP, shared), "changes by scan"


def _enter_nothing(_work_dir: Path, _reporter: Reporter, _kept: Iterable[Path]) -> _Entered:
    return None, Directories(None, OwnerPolicy.KEEP), ""


_ENTER: Mapping[Mode, Callable[[Path, Reporter, Iterable[Path]], _Entered]] = {
    "namespace": _enter_namespaces,
    "inplace": _stay_in_place,
    "none": _enter_nothing,
}


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
