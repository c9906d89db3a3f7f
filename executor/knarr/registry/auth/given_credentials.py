"""Credentials that variables give for hosts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from knarr.oci.reference import DOCKER_HUB, normalise_registry
from knarr.registry.auth.credentials import Credentials, Lookup
from knarr.registry.http.addresses import host_of

_HUB_HOST = "index.docker.io"


@dataclass(frozen=True, slots=True)
class HostVariables:
    """Credentials by the host's name as a variable writes it: `GHCR_IO`, and `EXAMPLE_COM` for all below it.

    The name can't tell `a-b.example` from `a.b.example`: that is the price of kaniko's form.
    """

    by_name: Mapping[str, Credentials] = field(repr=False)
    name: str = "env"

    def lookup(self, registry: str) -> Lookup:
        """Those of the host itself before those of its parent domains; a top-level domain is none."""
        for name in variable_names(registry):
            if name in self.by_name:
                return Lookup(self.by_name[name])
        return Lookup()


def variable_names(registry: str) -> Iterator[str]:
    """The names that stand for a registry's host, the longest first; the port is in none."""
    host = _HUB_HOST if registry == DOCKER_HUB else host_of(registry)
    labels = host.split(".")
    for start in range(max(1, len(labels) - 1)):
        yield "_".join(labels[start:]).upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class OneRegistry:
    """Credentials of one registry, host with port."""

    name: str
    registry: str
    credentials: Credentials = field(repr=False)

    def lookup(self, registry: str) -> Lookup:
        """The credentials where the registry is the one that they were given for, else none."""
        is_meant = normalise_registry(self.registry.removesuffix(":443")) == registry
        return Lookup(self.credentials) if is_meant else Lookup()
