"""Which function carries out which instruction."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from knarr.build import steps_config, steps_files, steps_run
from knarr.build.stage import StageBuild
from knarr.dockerfile import instructions as i
from knarr.dockerfile.instructions import Instruction

Step = Callable[[StageBuild, Any], None]

_STEPS: Mapping[type[Instruction], Step] = MappingProxyType(
    {
        i.Add: steps_files.step_add,
        i.Arg: steps_config.step_arg,
        i.Cmd: steps_config.step_cmd,
        i.Copy: steps_files.step_copy,
        i.Entrypoint: steps_config.step_entrypoint,
        i.Env: steps_config.step_env,
        i.Expose: steps_config.step_expose,
        i.Healthcheck: steps_config.step_healthcheck,
        i.Label: steps_config.step_label,
        i.Maintainer: steps_config.step_maintainer,
        i.Onbuild: steps_config.step_onbuild,
        i.Run: steps_run.step_run,
        i.Shell: steps_config.step_shell,
        i.Stopsignal: steps_config.step_stopsignal,
        i.User: steps_config.step_user,
        i.Volume: steps_config.step_volume,
        i.Workdir: steps_files.step_workdir,
    }
)


def carry_out(stage: StageBuild, instruction: Instruction) -> None:
    """Carry out one instruction in a stage. Raises KnarrError; the stage is of no use then."""
    _STEPS[type(instruction)](stage, instruction)
