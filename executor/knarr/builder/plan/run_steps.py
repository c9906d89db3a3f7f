"""RUN: what its process is started with."""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from types import MappingProxyType

from knarr.builder.plan.config_steps import shell_of
from knarr.builder.plan.state import StageState
from knarr.builder.plan.steps import Input, Origin, RunStep
from knarr.dockerfile.language.expand import expand_word
from knarr.dockerfile.language.history import run_created_by
from knarr.dockerfile.language.instructions import Run
from knarr.dockerfile.language.mount import Mount, MountType, parse_mount
from knarr.dockerfile.language.run_script import run_script
from knarr.dockerfile.language.scope import PROXY_ARGS
from knarr.errors import DockerfileError
from knarr.exec.spec import Network
from knarr.rootfs.copying.copy import CopyRequest

_NETWORKS: Mapping[str, Network] = MappingProxyType({"default": "default", "host": "host", "none": "none"})
_AGENT_VARIABLE = "SSH_AUTH_SOCK"


def plan_run_step(state: StageState, run: Run) -> RunStep:
    """RUN: the layer is what its process changes."""
    _refuse_flags(run)
    script = run_script(run, shell_of(state))
    word = partial(expand_word, env=state.scope.expansion_env(), escape=state.around.escape)
    mounts = tuple(parse_mount(flag, word) for flag in run.mounts)
    origins = {mount: _origin(state, mount) for mount in mounts if _shows_files(mount)}
    settings = state.around.run
    network = settings.network if run.network == "default" else _NETWORKS[run.network]
    user, working_dir = state.config.user, state.config.working_dir
    variables = sorted(state.scope.variables.items())
    inputs = (
        "RUN",
        str(len(script.argv)),
        *script.argv,
        script.file.text if script.file is not None else "",
        str(len(variables)),
        *(text for pair in variables for text in pair),
        user,
        working_dir,
        network,
        *settings.key_parts,
        *(part for mount in mounts for part in _mount_inputs(state, mount, origins)),
    )
    args = [(key, value) for key, value in state.scope.history_args() if key.upper() not in PROXY_ARGS]
    state.record(run_created_by(script.argv, args), makes_layer=True)
    return RunStep(
        inputs,
        script,
        state.scope.run_env(state.around.build_args),
        user,
        working_dir,
        network,
        mounts,
        origins,
        has_agent_variable=_AGENT_VARIABLE in state.scope.variables,
        settings=settings,
    )


def _shows_files(mount: Mount) -> bool:
    """Whether a mount shows what is somewhere else: a secret, a memory or an empty cache does not."""
    return mount.type is MountType.BIND or (mount.type is MountType.CACHE and mount.from_ is not None)


def _origin(state: StageState, mount: Mount) -> Origin:
    return state.origin(mount.from_, numbered=False) if mount.from_ is not None else None


def _mount_inputs(state: StageState, mount: Mount, origins: Mapping[Mount, Origin]) -> tuple[Input, ...]:
    """What a step depends on in a mount: of a secret or a cache what it is, of a bind what is in it."""
    source: Input = ""
    if mount in origins:
        wanted = CopyRequest(dest="/sources/", sources=(mount.source,))
        source = state.files(origins[mount], wanted)
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
