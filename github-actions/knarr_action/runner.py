"""Where the executor runs: in the job's own container, or in one that Docker or podman starts."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from knarr_action.errors import ActionError
from knarr_action.flags import Call
from knarr_action.inputs import PREFIX, Inputs
from knarr_action.login import login
from knarr_action.mounts import volumes

_EXECUTORS = ("knarr", "/kaniko/executor")
_ENGINES = ("docker", "podman")
_CERTIFICATES_INSIDE = "/kaniko/ssl/certs"
_PASSED = frozenset(
    "CI GITHUB_ACTIONS GITHUB_ARTIFACTS GITHUB_OUTPUT GITHUB_STEP_SUMMARY GITHUB_WORKSPACE NO_COLOR "
    "SOURCE_DATE_EPOCH DOCKER_AUTH_CONFIG GOOGLE_APPLICATION_CREDENTIALS".split()
)
_PASSED_BEGINNINGS = ("KANIKO_", "KNARR_", "AWS_", "AZURE_")
_KEPT_OUT = frozenset({"KANIKO_DIR", "KNARR_DIR"})
"""Directories of the runner's own, which a container lacks."""
_FILES: Mapping[str, str] = {
    "GITHUB_ARTIFACTS": "rw",
    "GITHUB_OUTPUT": "rw",
    "GITHUB_STEP_SUMMARY": "rw",
    "GOOGLE_APPLICATION_CREDENTIALS": "ro",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "ro",
    "SSH_AUTH_SOCK": "ro",
}
"""Variables that name files which are mounted."""


def run(call: Call, inputs: Inputs, environment: Mapping[str, str]) -> int:
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
    environment.update(_certificates(inputs, environment, scratch))
    executor = _first(_EXECUTORS)
    if choice == "container" or (choice == "auto" and executor):
        if not executor:
            raise ActionError(
                "the job's container has no knarr", hint="container: image: the executor's image, in the job"
            )
        if call.exports.load:
            raise ActionError("load needs Docker on the runner", hint="outputs: type=docker,dest=FILE")
        _become(executor, call.arguments, environment)
    engine = _first(_ENGINES)
    if not engine:
        raise ActionError(
            "there is neither knarr nor Docker nor podman on this runner",
            hint="give the job the executor's image as its container, or install Docker on the runner",
        )
    environment.update(login(environment))
    if not call.exports.load:
        _become(engine, engine_arguments(call, inputs, environment, scratch), environment)
    return _run_and_load(engine, call, inputs, environment, scratch)


def engine_arguments(
    call: Call, inputs: Inputs, environment: Mapping[str, str], scratch: Path
) -> Sequence[str]:
    """The arguments of `docker` or `podman` for the executor's image."""
    workspace = Path(environment.get("GITHUB_WORKSPACE") or os.getcwd())
    mounted = {str(path): f"{path}:{mode}" for path, mode in volumes(call.arguments, workspace).items()}
    mounted[str(scratch)] = f"{scratch}:ro"
    passed = sorted(_passed(call, inputs, environment))
    for name in passed:
        if name in _FILES:
            mounted[environment[name]] = f"{environment[name]}:{_FILES[name]}"
    return [
        "run",
        "--rm",
        f"--network={inputs.text('network') or 'host'}",
        f"--workdir={workspace}",
        *(f"--volume={outside}:{rest}" for outside, rest in mounted.items()),
        *(f"--env={name}" for name in passed),
        *inputs.lines("docker-options"),
        inputs.text("executor-image"),
        *call.arguments,
    ]


def _passed(call: Call, inputs: Inputs, environment: Mapping[str, str]) -> Iterator[str]:
    """Names of variables, never values: a command line can be seen by other processes."""
    wanted = {*_PASSED, *call.variables, *map(_variable, call.arguments)}
    if inputs.text("ca-file"):
        wanted.add("SSL_CERT_DIR")
    for name, text in environment.items():
        by_kind = name.upper().endswith("_PROXY") or name.startswith(_PASSED_BEGINNINGS)
        if text and (name in wanted or by_kind) and name not in _KEPT_OUT:
            yield name


def _variable(argument: str) -> str:
    """The variable that an argument names: `--build-arg=NAME`, `--secret=id=ID,env=NAME`, `--ssh=default`."""
    flag, _, value = argument.partition("=")
    if flag == "--ssh":
        return "SSH_AUTH_SOCK"
    if flag == "--secret":
        return next((part[len("env=") :] for part in value.split(",") if part.startswith("env=")), "")
    return value if flag == "--build-arg" else ""


def _certificates(inputs: Inputs, environment: Mapping[str, str], scratch: Path) -> Mapping[str, str]:
    """SSL_CERT_DIR with the certificates of the input `ca-file`. Raises ActionError."""
    name = inputs.text("ca-file")
    if not name:
        return {}
    try:
        shutil.copy(name, scratch / "ca.pem")
    except OSError as error:
        raise ActionError(
            f"can't read the ca-file {name}: {error.strerror}", hint="it takes a PEM file"
        ) from error
    scratch.chmod(0o755)
    # Directories that aren't there are passed over.
    directories = [environment.get("SSL_CERT_DIR", ""), _CERTIFICATES_INSIDE, str(scratch)]
    return {"SSL_CERT_DIR": ":".join(filter(None, directories))}


def _run_and_load(
    engine: str, call: Call, inputs: Inputs, environment: Mapping[str, str], scratch: Path
) -> int:
    directory = scratch / "load"
    directory.mkdir()
    archive = Path(call.exports.tar_path or directory / "image.tar").absolute()
    if not call.exports.tar_path:
        call = replace(call, arguments=[*call.arguments, f"--tar-path={archive}"])
    command = [engine, *engine_arguments(call, inputs, environment, scratch)]
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        return status
    loaded = subprocess.run([engine, "load", "--input", str(archive)], check=False).returncode
    shutil.rmtree(directory)
    return loaded


def _first(programs: Sequence[str]) -> str:
    return next(filter(None, map(shutil.which, programs)), "")


def _become(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    os.execve(program, [program, *arguments], dict(environment))
