"""RUN: a process in the stage's root file system."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from knarr.build.isolation import Command
from knarr.build.run_mounts import StepMounts, step_mounts
from knarr.build.stage import StageBuild
from knarr.build.steps_config import shell_of
from knarr.dockerfile.history import run_created_by
from knarr.dockerfile.instructions import Run
from knarr.dockerfile.run_script import SCRIPT_DIRECTORY, ScriptFile, run_script
from knarr.dockerfile.scope import PROXY_ARGS
from knarr.errors import DockerfileError
from knarr.exec.spec import Mount, Network
from knarr.rootfs.paths import make_directories
from knarr.rootfs.users import UserSpec, read_user_databases, resolve_user

_NETWORKS: Mapping[str, Network] = MappingProxyType({"default": "default", "host": "host", "none": "none"})


def step_run(stage: StageBuild, run: Run) -> None:
    """RUN: the layer is what its process changed. Raises RunError with the process's status."""
    _refuse_flags(run)
    with step_mounts(stage, run.mounts) as mounts:
        _run(stage, run, mounts)


def _run(stage: StageBuild, run: Run, mounts: StepMounts) -> None:
    user = resolve_user(stage.image.config.user, *read_user_databases(stage.root.tree()))
    script = run_script(run, shell_of(stage))
    script_mounts = (_script_mount(script.file, stage.settings.work_dir),) if script.file is not None else ()
    command = Command(
        argv=script.argv,
        env={**_environment(stage, user), **mounts.env},
        working_dir=stage.image.config.working_dir,
        user=user,
        network=_NETWORKS[run.network],
        mounts=(*script_mounts, *mounts.mounts),
    )

    def process(root: Path) -> None:
        _make_working_directory(root, command.working_dir)
        stage.settings.sandbox.run(root, command)

    layer = stage.root.run(process, mounts.stubs)
    args = [(key, value) for key, value in stage.scope.history_args() if key.upper() not in PROXY_ARGS]
    stage.add_layer(layer, run_created_by(script.argv, args))


def _refuse_flags(run: Run) -> None:
    refused = {
        "--device": (bool(run.devices), "a step gets no devices of the machine; use a volume or a mount"),
        f"--security={run.security}": (
            run.security != "sandbox",
            "knarr itself runs without privileges, so it has none to give to a step",
        ),
    }
    for flag, (is_given, reason) in refused.items():
        if is_given:
            raise DockerfileError(f"RUN {flag} is refused: {reason}")


def _environment(stage: StageBuild, user: UserSpec) -> dict[str, str]:
    """The variables in scope; HOME is from the image's passwd where nothing sets it."""
    env = stage.scope.run_env(stage.settings.build_args)
    env.setdefault("HOME", user.home)
    return env


def _script_mount(file: ScriptFile, work_dir: Path) -> Mount:
    path = work_dir / "script"
    path.write_bytes(file.text.encode("utf-8", "surrogateescape"))
    os.chmod(path, 0o755)
    return Mount(target=PurePosixPath(SCRIPT_DIRECTORY, file.name), source=path, readonly=True)


def _make_working_directory(root: Path, path: str) -> None:
    """A base image may name a working directory that it doesn't have; runtimes make it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_directories(descriptor, path.strip("/"))
    finally:
        os.close(descriptor)
