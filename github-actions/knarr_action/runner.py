"""Where the executor runs: in the job's own container, or in one that Docker or podman starts."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from knarr_action.docker.container import (
    CERTIFICATES,
    CERTIFICATES_INSIDE,
    archives_of,
    engine_arguments,
)
from knarr_action.docker.login import login
from knarr_action.docker.mounts import Mounts
from knarr_action.errors import ActionError
from knarr_action.flags import Call
from knarr_action.inputs import PREFIX, Inputs
from knarr_action.programs import run_program
from knarr_action.workflow import Warn

_EXECUTORS = ("knarr", "/kaniko/executor")
_ENGINES = ("docker", "podman")


def run(call: Call, inputs: Inputs, environment: Mapping[str, str], warn: Warn) -> int:
    """Run the executor and give its exit status; with nothing left to do after it, this process becomes it.

    Raises ActionError where there is neither the executor nor an engine.
    """
    choice = inputs.text("runner") or "auto"
    if choice not in ("auto", "container", "docker"):
        raise ActionError(f"the input runner is {choice!r}", hint="it takes auto, container or docker")
    # The inputs have done their work, and one of them may hold secrets.
    environment = {name: text for name, text in environment.items() if not name.startswith(PREFIX)}
    environment.update(call.variables)
    scratch = Path(tempfile.mkdtemp(prefix="knarr-", dir=environment.get("RUNNER_TEMP") or None))
    _copy_certificates(inputs, scratch / CERTIFICATES)
    executor = _first(_EXECUTORS)
    if choice == "container" or (choice == "auto" and executor):
        if not executor:
            raise ActionError(
                "the job's container has no knarr", hint="container: image: the executor's image, in the job"
            )
        if call.loaded:
            raise ActionError("load needs Docker on the runner", hint="outputs: type=docker,dest=FILE")
        if inputs.text("ca-file"):
            # Directories that aren't there are passed over.
            directories = [
                environment.get("SSL_CERT_DIR", ""),
                CERTIFICATES_INSIDE,
                str(scratch / CERTIFICATES),
            ]
            environment["SSL_CERT_DIR"] = ":".join(filter(None, directories))
        _become([executor, *call.arguments], environment)
    engine = _first(_ENGINES)
    if not engine:
        raise ActionError(
            "there is neither knarr nor Docker nor podman on this runner",
            hint="give the job the executor's image as its container, or install Docker on the runner",
        )
    environment.update(login(environment, warn))
    mounts = Mounts(Path(environment.get("GITHUB_WORKSPACE") or os.getcwd()), scratch)
    command = [engine, *engine_arguments(call, inputs, environment, scratch, mounts)]
    if not mounts.have_results:
        _become(command, environment)
    status = run_program(command, environment)
    mounts.deliver()
    for archive in archives_of(call, scratch):
        status = status or run_program([engine, "load", "--input", str(archive)], environment)
    shutil.rmtree(scratch, ignore_errors=True)
    return status


def _copy_certificates(inputs: Inputs, directory: Path) -> None:
    """Those of the input `ca-file`. Raises ActionError."""
    name = inputs.text("ca-file")
    if not name:
        return
    directory.mkdir()
    try:
        shutil.copy(name, directory / "ca.pem")
    except OSError as error:
        raise ActionError(
            f"can't read the ca-file {name}: {error.strerror}", hint="it takes a PEM file"
        ) from error


def _first(programs: tuple[str, ...]) -> str:
    return next(filter(None, map(shutil.which, programs)), "")


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    os.execve(command[0], command, dict(environment))
