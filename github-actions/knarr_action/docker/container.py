"""The container of the executor's image: what `docker run` or `podman run` is started with."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from knarr_action.docker.mounts import WORKSPACE, Mounts
from knarr_action.docker.paths import move_inside, with_values
from knarr_action.errors import ActionError
from knarr_action.exports import output_flag
from knarr_action.flags import Call
from knarr_action.inputs import Inputs
from knarr_action.records import read_record

CERTIFICATES = "certificates"
"""The directory in the scratch directory that has those of the input `ca-file`."""
CERTIFICATES_INSIDE = "/kaniko/ssl/certs"
"""Those of the executor's image."""
_PASSED = frozenset(
    "CI GITHUB_ACTIONS GITHUB_ARTIFACTS GITHUB_OUTPUT GITHUB_STEP_SUMMARY GITHUB_WORKSPACE NO_COLOR "
    "SOURCE_DATE_EPOCH DOCKER_AUTH_CONFIG GOOGLE_APPLICATION_CREDENTIALS".split()
)
_PASSED_BEGINNINGS = ("KANIKO_", "KNARR_", "AWS_", "AZURE_")
_KEPT_OUT = frozenset({"KANIKO_DIR", "KNARR_DIR"})
"""Directories of the runner's own, which a container lacks."""
_APPENDED_TO = frozenset({"GITHUB_ARTIFACTS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"})
_READ = frozenset(
    "GOOGLE_APPLICATION_CREDENTIALS SSH_AUTH_SOCK AZURE_FEDERATED_TOKEN_FILE AWS_CONFIG_FILE "
    "AWS_SHARED_CREDENTIALS_FILE AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".split()
)
"""Variables that name files which are mounted."""


_OF_ENGINE = ("--add-host=", "--shm-size=")
"""Flags about what steps that run in place share with the container: there the container has to have it."""
_LESS_CONFINED = ("--privileged", "--cap-add")
"""Options that let the executor make namespaces, in which it does these things itself."""


def archives_of(call: Call, scratch: Path) -> Sequence[Path]:
    """Where the executor writes what the engine loads afterwards."""
    return [scratch / f"image-{number}.tar" for number in range(len(call.loaded))]


def engine_arguments(
    call: Call, inputs: Inputs, environment: Mapping[str, str], scratch: Path, mounts: Mounts
) -> Sequence[str]:
    """The arguments of `docker` or `podman` for the executor's image; the mounts get what the call names.

    Directories that the build writes to are made. Raises ActionError.
    """
    command, *rest = with_values(call.arguments)
    is_only = len(call.loaded) == 1 and not any(each.startswith("--tar-path=") for each in rest)
    loaded = [
        output_flag({**record, "dest": str(path)}, is_only=is_only)
        for record, path in zip(call.loaded, archives_of(call, scratch), strict=True)
    ]
    given = [command, *loaded, *rest]
    options = inputs.list("docker-options")
    is_in_place = not any(option.startswith(_LESS_CONFINED) for option in options)
    of_engine = [each for each in given if is_in_place and each.startswith(_OF_ENGINE)]
    arguments = move_inside([each for each in given if each not in of_engine], mounts)
    variables = list(_variables(given, call, environment, mounts))
    if inputs.text("ca-file"):
        directory = mounts.read(str(scratch / CERTIFICATES))
        variables.append(f"--env=SSL_CERT_DIR={CERTIFICATES_INSIDE}:{directory}")
    return [
        "run",
        "--rm",
        *([] if _names_network(options) else [f"--network={call.network}"]),
        f"--workdir={WORKSPACE}",
        *mounts.options(),
        *variables,
        *map(_engine_option, of_engine),
        *options,
        inputs.text("executor-image"),
        *arguments,
    ]


def _variables(
    arguments: Sequence[str], call: Call, environment: Mapping[str, str], mounts: Mounts
) -> Iterator[str]:
    """Names of variables, never secret values: a command line can be seen by other processes."""
    for name in sorted(_passed(arguments, call, environment)):
        path = environment[name]
        if name == "GITHUB_WORKSPACE":
            yield f"--env={name}={WORKSPACE}"
        elif name in _APPENDED_TO:
            yield f"--env={name}={mounts.appended_file(path)}"
        elif name in _READ:
            yield f"--env={name}={mounts.read(path)}"
        else:
            yield f"--env={name}"


def _passed(arguments: Sequence[str], call: Call, environment: Mapping[str, str]) -> Iterator[str]:
    named = {*call.variables, *map(_variable, arguments)}
    for name, text in environment.items():
        is_ours = name in _PASSED or name.upper().endswith("_PROXY") or name.startswith(_PASSED_BEGINNINGS)
        if name in named or (text and is_ours and name not in _KEPT_OUT):
            yield name


def _variable(argument: str) -> str:
    """The variable that an argument names: `--build-arg=NAME`, `--secret=id=ID,env=NAME`, `--ssh=default`."""
    flag, _, value = argument.partition("=")
    if flag == "--ssh":
        return "" if "=" in value else "SSH_AUTH_SOCK"
    if flag == "--secret":
        try:
            record = read_record(flag, value)
        except ActionError:
            return ""
        by_type = record.get("src", record.get("source")) if record.get("type") == "env" else ""
        return record.get("env") or by_type or ("" if "src" in record else record.get("id", ""))
    return value if flag == "--build-arg" else ""


def _engine_option(argument: str) -> str:
    """Docker's form of a host's address: `NAME:IP`, without brackets, which older ones don't know."""
    flag, _, value = argument.partition("=")
    if flag != "--add-host":
        return argument
    name, _, address = value.partition("=") if "=" in value else value.partition(":")
    return f"{flag}={name}:{address.removeprefix('[').removesuffix(']')}"


def _names_network(options: Sequence[str]) -> bool:
    return any(option.partition("=")[0] in ("--network", "--net") for option in options)
