"""Which function carries out which instruction."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from knarr.builder.plan import steps_config, steps_files, steps_run
from knarr.builder.plan.layer_step import LayerStep
from knarr.builder.plan.stage import StageState
from knarr.dockerfile.language import instructions as i
from knarr.dockerfile.language.instructions import Instruction

_CONFIG_STEPS: Mapping[type[Instruction], Callable[[StageState, Any], None]] = MappingProxyType(
    {
        i.Arg: steps_config.step_arg,
        i.Cmd: steps_config.step_cmd,
        i.Entrypoint: steps_config.step_entrypoint,
        i.Env: steps_config.step_env,
        i.Expose: steps_config.step_expose,
        i.Healthcheck: steps_config.step_healthcheck,
        i.Label: steps_config.step_label,
        i.Maintainer: steps_config.step_maintainer,
        i.Onbuild: steps_config.step_onbuild,
        i.Shell: steps_config.step_shell,
        i.Stopsignal: steps_config.step_stopsignal,
        i.User: steps_config.step_user,
        i.Volume: steps_config.step_volume,
    }
)
_LAYER_STEPS: Mapping[type[Instruction], Callable[[StageState, Any], LayerStep | None]] = MappingProxyType(
    {
        i.Add: steps_files.add_step,
        i.Copy: steps_files.copy_step,
        i.Run: steps_run.run_step,
        i.Workdir: steps_files.workdir_step,
    }
)


def take(state: StageState, instruction: Instruction) -> LayerStep | None:
    """Do what an instruction does to the image config; the result is its layer, not made yet, if it has one.

    Raises KnarrError; the state is of no use then.
    """
    configure = _CONFIG_STEPS.get(type(instruction))
    if configure is None:
        return _LAYER_STEPS[type(instruction)](state, instruction)
    configure(state, instruction)
    return None
