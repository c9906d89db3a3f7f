"""RUN: a process in the stage's root file system."""

import os
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from knarr.builder.mounts.run_mounts import MountedStep, MountProviders, StepMounts, step_mounts
from knarr.builder.plan.layer_step import Inputs, LayerStep, SourceKeys
from knarr.builder.plan.stage import StageBuild, StageState
from knarr.builder.plan.steps_config import shell_of
from knarr.builder.roots.backend import Command
from knarr.dockerfile.language.expand import expand_word
from knarr.dockerfile.language.history import run_created_by
from knarr.dockerfile.language.instructions import Run
from knarr.dockerfile.language.mount import Mount, MountType, parse_mount
from knarr.dockerfile.language.run_script import SCRIPT_DIRECTORY, RunScript, ScriptFile, run_script
from knarr.dockerfile.language.scope import PROXY_ARGS
from knarr.errors import DockerfileError
from knarr.exec import spec
from knarr.exec.spec import Network
from knarr.images.image import Layer
from knarr.rootfs.copy import CopyRequest
from knarr.rootfs.users import UserSpec, read_user_databases, resolve_user

_NETWORKS: Mapping[str, Network] = MappingProxyType({"default": "default", "host": "host", "none": "none"})


def run_step(state: StageState, run: Run) -> LayerStep:
    """RUN: the layer is what its process changed; `make` raises RunError with the process's status."""
    _refuse_flags(run)
    script = run_script(run, shell_of(state))
    word = partial(expand_word, env=state.scope.expansion_env(), escape=state.settings.escape)
    mounts = [parse_mount(flag, word) for flag in run.mounts]
    user, working_dir = state.image.config.user, state.image.config.working_dir

    def inputs(keys: SourceKeys) -> Inputs:
        variables = sorted(state.scope.variables.items())
        return (
            "RUN",
            str(len(script.argv)),
            *script.argv,
            script.file.text if script.file is not None else "",
            str(len(variables)),
            *(text for pair in variables for text in pair),
            user,
            working_dir,
            run.network,
            *(part for mount in mounts for part in _mount_inputs(mount, state.index, keys)),
        )

    def make(stage: StageBuild) -> Layer:
        settings = stage.settings
        step = MountedStep(
            tuple(mounts), stage.root.tree(), working_dir, "SSH_AUTH_SOCK" in stage.scope.variables
        )
        providers = MountProviders(
            settings.caches,
            settings.credentials,
            lambda mount: settings.sources.locate(mount.from_, stage.index, mount.source),
            settings.work_dir,
            settings.backend.abilities,
        )
        with step_mounts(step, providers) as prepared:
            return _run(stage, script, _NETWORKS[run.network], prepared)

    args = [(key, value) for key, value in state.scope.history_args() if key.upper() not in PROXY_ARGS]
    return LayerStep(run_created_by(script.argv, args), inputs, make, is_run=True)


def _run(stage: StageBuild, script: RunScript, network: Network, mounts: StepMounts) -> Layer:
    user = resolve_user(stage.image.config.user, *read_user_databases(stage.root.tree()))
    script_mounts = (_script_mount(script.file, stage.settings.work_dir),) if script.file is not None else ()
    command = Command(
        argv=script.argv,
        env={**_environment(stage, user), **mounts.env},
        working_dir=stage.image.config.working_dir,
        user=user,
        network=network,
        mounts=(*script_mounts, *mounts.mounts),
    )

    def process(root: Path) -> None:
        stage.settings.backend.run(root, command)

    return stage.root.run(process, mounts.mount_points)


def _mount_inputs(mount: Mount, index: int, keys: SourceKeys) -> Inputs:
    """What a step depends on in a mount: of a secret or a cache what it is, of a bind what is in it."""
    source = ""
    if mount.type is MountType.BIND or (mount.type is MountType.CACHE and mount.from_ is not None):
        wanted = CopyRequest(dest="/sources/", sources=(mount.source,))
        if mount.from_ is None:
            source = keys.context(wanted)
        else:
            source = keys.named(mount.from_, index, wanted, numbered=False)
    facts = [getattr(mount, each.name) for each in fields(mount)]
    return ("mount", *(str(fact) for fact in facts), source)


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


def _script_mount(file: ScriptFile, work_dir: Path) -> spec.Mount:
    path = work_dir / "script"
    path.write_bytes(file.text.encode("utf-8", "surrogateescape"))
    os.chmod(path, 0o755)
    return spec.Mount(target=PurePosixPath(SCRIPT_DIRECTORY, file.name), source=path, readonly=True)
