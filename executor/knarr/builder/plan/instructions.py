"""Which function plans which instruction."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from knarr.builder.plan import config_steps, file_steps, run_steps
from knarr.builder.plan.state import StageState
from knarr.builder.plan.steps import LayerStep
from knarr.dockerfile.language import instructions as i
from knarr.dockerfile.language.instructions import Instruction

_CONFIG_STEPS: Mapping[type[Instruction], Callable[[StageState, Any], None]] = MappingProxyType(
    {
        i.Arg: config_steps.step_arg,
        i.Cmd: config_steps.step_cmd,
        i.Entrypoint: config_steps.step_entrypoint,
        i.Env: config_steps.step_env,
        i.Expose: config_steps.step_expose,
        i.Healthcheck: config_steps.step_healthcheck,
        i.Label: config_steps.step_label,
        i.Maintainer: config_steps.step_maintainer,
        i.Onbuild: config_steps.step_onbuild,
        i.Shell: config_steps.step_shell,
        i.Stopsignal: config_steps.step_stopsignal,
        i.User: config_steps.step_user,
        i.Volume: config_steps.step_volume,
    }
)
_LAYER_STEPS: Mapping[type[Instruction], Callable[[StageState, Any], LayerStep | None]] = MappingProxyType(
    {
        i.Add: file_steps.plan_add_step,
        i.Copy: file_steps.plan_copy_step,
        i.Run: run_steps.plan_run_step,
        i.Workdir: file_steps.plan_workdir_step,
    }
)


def apply_instruction(state: StageState, instruction: Instruction) -> LayerStep | None:
    """Do what an instruction does to the config of a stage; the result is its layer's step, if it has one.

    Raises KnarrError; the state is of no use then.
    """
    configure = _CONFIG_STEPS.get(type(instruction))
    if configure is None:
        return _LAYER_STEPS[type(instruction)](state, instruction)
    configure(state, instruction)
    return None
