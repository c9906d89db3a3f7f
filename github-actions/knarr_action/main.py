"""One step of a job: inputs of the environment to a run of the executor."""

import os
from collections.abc import Sequence

from knarr_action.errors import ActionError
from knarr_action.flags import Call, build_call, index_call
from knarr_action.inputs import Inputs
from knarr_action.runner import run
from knarr_action.workflow import fail, warn

_USAGE_STATUS = 2


def main(arguments: Sequence[str]) -> int:
    """Run the action that the only argument names; the result is the exit status."""
    try:
        environment = dict(os.environ)
        inputs = Inputs.of(environment)
        return run(_call(arguments, inputs, environment), inputs, environment, warn)
    except ActionError as error:
        fail(str(error), error.hint)
        return _USAGE_STATUS


def _call(arguments: Sequence[str], inputs: Inputs, environment: dict[str, str]) -> Call:
    if list(arguments) == ["build"]:
        return build_call(inputs, environment, warn)
    if list(arguments) == ["index"]:
        return index_call(inputs)
    raise ActionError(f"no such action: {' '.join(arguments)}", hint="run.py build, or run.py index")
