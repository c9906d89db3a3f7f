"""Flags that say what RUN steps are surrounded with."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import value


@dataclass(frozen=True, slots=True)
class RunFlags:
    """Network, names, limits."""

    network: Annotated[
        str, value("network", "Network of RUN steps that name none: default, none or host.")
    ] = "default"
    add_host: Annotated[
        tuple[str, ...], value("add-host", "NAME:ADDRESS or NAME=ADDRESS in /etc/hosts of RUN; repeatable.")
    ] = ()
    shm_size: Annotated[str, value("shm-size", "Size of /dev/shm in RUN, such as 64m.")] = ""
    ulimit: Annotated[
        tuple[str, ...], value("ulimit", "NAME=SOFT[:HARD]: a limit of RUN's processes; repeatable.")
    ] = ()
