"""The inputs about secrets to flags, with the variables that carry values."""

import os
from collections.abc import Iterator, Mapping, Sequence

from knarr_action.inputs import Inputs
from knarr_action.records import write_record
from knarr_action.workflow import Warn


def read_secrets(inputs: Inputs, warn: Warn) -> tuple[Sequence[str], Mapping[str, str]]:
    """Flags of `knarr build`, and variables for them: a command line can be seen by other processes.

    As in docker/build-push-action a secret without a value, or whose file isn't there, is a warning. Of two
    with one id the later counts: those in variables, those with values, those in files. Raises ActionError.
    """
    sources: dict[str, dict[str, str]] = {}
    variables: dict[str, str] = {}
    for id_, name in _usable("secret-envs", inputs, warn):
        sources[id_] = {"env": name.strip()}
    for number, (id_, value) in enumerate(_usable("secrets", inputs, warn)):
        variables[f"KNARR_SECRET_{number}"] = value
        sources[id_] = {"env": f"KNARR_SECRET_{number}"}
    for id_, path in _usable("secret-files", inputs, warn):
        if os.path.exists(path.strip()):
            sources[id_] = {"src": path.strip()}
        else:
            warn(f"secret-files: {path.strip()} isn't there, so the build has no secret {id_}")
    flags = [f"--secret={write_record({'id': id_, **source})}" for id_, source in sources.items()]
    return flags, variables


def _usable(name: str, inputs: Inputs, warn: Warn) -> Iterator[tuple[str, str]]:
    for id_, value in inputs.pairs(name):
        if value:
            yield id_, value
        else:
            warn(f"{name}: the value of {id_} is empty, so the build has no such secret")
