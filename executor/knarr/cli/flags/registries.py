"""Flags that say how registries are reached."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class RegistryFlags:
    """Schemes, certificates, mirrors."""

    insecure: Annotated[Switch, switch("insecure", "Push over plain HTTP.")] = OFF
    insecure_pull: Annotated[Switch, switch("insecure-pull", "Pull over plain HTTP.")] = OFF
    insecure_registry: Annotated[
        tuple[str, ...],
        value("insecure-registry", "HOST[:PORT] to reach over plain HTTP; repeatable."),
    ] = ()
    registry_map: Annotated[
        tuple[str, ...],
        value("registry-map", "REGISTRY=HOST[/PREFIX] to pull from instead; ';' or repeatable."),
    ] = ()
