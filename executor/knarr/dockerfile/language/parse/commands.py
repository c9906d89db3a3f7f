"""Parsers of the instructions that hold a command line: RUN, CMD, ENTRYPOINT, HEALTHCHECK, SHELL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from knarr.dockerfile.language.durations import parse_duration_ns
from knarr.dockerfile.language.instructions import Cmd, Entrypoint, Healthcheck, Run, Shell
from knarr.dockerfile.language.mount import mount_from
from knarr.dockerfile.language.parse.line import Request
from knarr.dockerfile.syntax.csv_fields import split_fields
from knarr.dockerfile.syntax.flags import FlagKind, FlagValues
from knarr.dockerfile.syntax.string_arrays import parse_string_array
from knarr.dockerfile.syntax.suggest import wrong
from knarr.dockerfile.syntax.text import BLANKS, parse_bool, parse_index
from knarr.errors import DockerfileError

_RUN_FLAGS: Mapping[str, FlagKind] = {
    "mount": FlagKind.LIST,
    "network": FlagKind.TEXT,
    "security": FlagKind.TEXT,
    "device": FlagKind.LIST,
}
_NETWORKS = ("default", "none", "host")
_SECURITIES = ("sandbox", "insecure")

_HEALTHCHECK_FLAGS: Mapping[str, FlagKind] = {
    "interval": FlagKind.TEXT,
    "timeout": FlagKind.TEXT,
    "start-period": FlagKind.TEXT,
    "start-interval": FlagKind.TEXT,
    "retries": FlagKind.TEXT,
}
_SHORTEST_INTERVAL_NS = 1_000_000
_MOST_RETRIES = 2**31 - 1
_FIRST_WORD = re.compile(f"[^{BLANKS}]*")


def parse_run(request: Request) -> Run:
    """Raises DockerfileError without a location."""
    flags = request.flags(_RUN_FLAGS)
    command = request.command()
    if command == ():
        raise DockerfileError("RUN with an empty array has nothing to run")
    for mount in flags.list("mount"):
        mount_from(mount)
    for device in flags.list("device"):
        parse_device(device)
    return Run(
        **request.common,
        command=command,
        heredocs=request.heredocs,
        mounts=flags.list("mount"),
        network=_choice(flags, "network", _NETWORKS),
        security=_choice(flags, "security", _SECURITIES),
        devices=flags.list("device"),
    )


def parse_cmd(request: Request) -> Cmd:
    """Raises DockerfileError without a location."""
    request.flags()
    return Cmd(**request.common, command=request.command())


def parse_entrypoint(request: Request) -> Entrypoint:
    """Raises DockerfileError without a location."""
    request.flags()
    return Entrypoint(**request.common, command=request.command())


def parse_shell(request: Request) -> Shell:
    """Raises DockerfileError without a location."""
    request.flags()
    request.need_arguments()
    shell = parse_string_array(request.arguments)
    if shell is None:
        raise DockerfileError(
            "SHELL requires the arguments to be in JSON form",
            hint='SHELL ["/bin/bash", "-o", "pipefail", "-c"]',
        )
    if not shell:
        raise DockerfileError("SHELL requires at least one argument")
    return Shell(**request.common, shell=shell)


def parse_healthcheck(request: Request) -> Healthcheck:
    """Raises DockerfileError without a location."""
    flags = request.flags(_HEALTHCHECK_FLAGS)
    request.need_arguments()
    match = _FIRST_WORD.match(request.arguments)
    kind = match[0] if match else ""
    rest = request.arguments[len(kind) :].lstrip(BLANKS)
    if kind.upper() == "NONE":
        if rest:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(**request.common, command=None)
    if kind.upper() != "CMD":
        raise wrong(f"unknown type {kind!r} in HEALTHCHECK (try CMD)", kind, ("CMD", "NONE"))
    array = parse_string_array(rest)
    command = rest if array is None else array
    if not command:
        raise DockerfileError("missing command after HEALTHCHECK CMD")
    return Healthcheck(
        **request.common,
        command=command,
        interval_ns=_interval_ns(flags, "interval"),
        timeout_ns=_interval_ns(flags, "timeout"),
        start_period_ns=_interval_ns(flags, "start-period"),
        start_interval_ns=_interval_ns(flags, "start-interval"),
        retries=_retries(flags.text("retries") or "0"),
    )


def _choice(flags: FlagValues, name: str, choices: tuple[str, ...]) -> str:
    value = flags.text(name)
    if value is None:
        return choices[0]
    if value not in choices:
        error = wrong(f"unsupported {name} mode {value!r}", value, choices)
        raise DockerfileError(error.message, hint=error.hint or f"one of {', '.join(choices)}")
    return value


def _interval_ns(flags: FlagValues, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    interval_ns = parse_duration_ns(text)
    if interval_ns != 0 and interval_ns < _SHORTEST_INTERVAL_NS:
        raise DockerfileError(f"interval {name!r} cannot be less than 1ms")
    return interval_ns


def _retries(text: str) -> int:
    retries = parse_index(text)
    if retries is None or retries > _MOST_RETRIES:
        raise DockerfileError(f"--retries is no number: {text!r}")
    if retries < 0:
        raise DockerfileError(f"--retries cannot be negative ({retries})")
    return retries


@dataclass(frozen=True, slots=True)
class Device:
    """A device by name, such as `vendor.com/class=name`; `required` fails the step where it is absent."""

    name: str
    required: bool = False


def parse_device(text: str) -> Device:
    """`name[,required]` or `name=...[,required=bool]`; raises DockerfileError without a location."""
    name = ""
    required = False
    for field in split_fields(text):
        key, equals, value = field.partition("=")
        if key.lower() == "required":
            required = _parse_required(value) if equals else True
        elif key.lower() == "name" and equals:
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field  # a CDI name has a "=" of its own
        elif equals:
            raise wrong(f"unexpected key '{key.lower()}' in '{field}'", key, ("name", "required"))
        else:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
    return Device(name, required)


def _parse_required(value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise DockerfileError(f"invalid value for required: {value}") from None
