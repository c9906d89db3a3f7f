"""Flags about what surrounds RUN steps to values."""

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType

from knarr.builder.request.run_settings import RunSettings
from knarr.cli.flags.run import RunFlags
from knarr.errors import UsageError
from knarr.exec.spec import LIMITS, Network

_NETWORKS: Mapping[str, Network] = MappingProxyType(
    {"": "default", "default": "default", "none": "none", "host": "host"}
)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_UNITS = " kmgtp"
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")


def read_run_settings(flags: RunFlags) -> RunSettings:
    """What the flags ask for. Raises UsageError."""
    if flags.network not in _NETWORKS:
        raise UsageError(
            f"--network {flags.network}: no such network",
            hint="default, none or host; it is that of RUN steps, who pulls and pushes is the executor",
        )
    return RunSettings(
        _NETWORKS[flags.network],
        tuple(_host(text) for text in flags.add_host),
        _bytes(flags.shm_size) if flags.shm_size else None,
        tuple(_limit(text) for text in flags.ulimit),
    )


def _host(text: str) -> tuple[str, str]:
    """As docker has it: split at the first `=`, else at the first `:`."""
    name, _, address = text.partition("=") if "=" in text else text.partition(":")
    if address == "host-gateway":
        raise UsageError(
            f"--add-host {text}: a RUN step has no gateway to its host",
            hint="it shares the network of the executor: give the address itself",
        )
    plain = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        found = ipaddress.ip_address(plain)
    except ValueError as error:
        raise UsageError(
            f"--add-host {text}: {plain!r} is no address",
            hint="NAME:ADDRESS, such as db:10.0.0.7 or db:[::1]",
        ) from error
    if not _NAME.fullmatch(name):
        raise UsageError(f"--add-host {text}: {name!r} is no host name")
    return name.lower(), str(found)


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * 1024 ** _UNITS.index((found[2] or " ").lower())) if found else 0
    if size <= 0:
        raise UsageError(f"--shm-size {text}: not a size", hint="write 64m, 1g or a number of bytes")
    return size


def _limit(text: str) -> tuple[str, int, int]:
    name, _, limits = text.partition("=")
    if name not in LIMITS:
        raise UsageError(f"--ulimit {text}: no limit {name!r}", hint=f"limits are {', '.join(LIMITS)}")
    soft, colon, hard = limits.partition(":")
    try:
        values = int(soft), int(hard if colon else soft)
    except ValueError as error:
        raise UsageError(
            f"--ulimit {text}: not a number", hint="NAME=SOFT[:HARD]; -1 is unlimited"
        ) from error
    if min(values) < -1 or (values[1] != -1 and (values[0] > values[1] or values[0] == -1)):
        raise UsageError(f"--ulimit {text}: the soft limit is above the hard one")
    return name, *values
