"""The process of a RUN step, started in a root file system."""

import os
import signal
from contextlib import closing
from pathlib import Path, PurePosixPath

from knarr.builder.roots.backend import StepCommand
from knarr.errors import RunError
from knarr.exec import launch
from knarr.exec.relay import Relay
from knarr.exec.spec import RunSpec
from knarr.rootfs.paths import make_directories

_STDERR = 2
_LAST_LINES = 40


def run_spec(root: Path, command: StepCommand) -> RunSpec:
    """What a step is started with in every isolation."""
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
        shm_bytes=command.shm_bytes,
        limits=command.limits,
    )


def make_working_directory(root: Path, path: str) -> None:
    """A base image may name a working directory that it doesn't have; runtimes make it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_directories(descriptor, path.strip("/"))
    finally:
        os.close(descriptor)


def launch_step(spec: RunSpec) -> None:
    """Run a step to its end, its output on stderr. Raises RunError with its status unless that is 0.

    A terminal is the step's own. Anything else gets the output through a pipe, so that the error has the last
    of it.
    """
    if os.isatty(_STDERR):
        _check(launch.run(spec, stdout=_STDERR, stderr=_STDERR), "")
        return
    with closing(Relay(_STDERR)) as relay:
        status = launch.run(spec, stdout=relay.write_end, stderr=relay.write_end, relay=relay)
        _check(status, relay.last_lines(_LAST_LINES))


def _check(status: launch.ExitStatus, output: str) -> None:
    if not status.ok:
        raise RunError(
            f"the process ended with status {status.code}",
            status=status.code,
            hint=_hint(status.code),
            output=output,
        )


def _hint(status: int) -> str:
    number = status - 128
    if number not in {*signal.Signals}:
        return "its output is in the log above"
    name = signal.Signals(number).name
    why = "; want of memory ends processes so" if number == signal.SIGKILL else ""
    return f"{status} is 128 + {number}: {name} killed it, or a process of its own{why}"
