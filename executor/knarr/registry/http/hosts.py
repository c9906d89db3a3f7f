"""Rules for reaching registries: scheme, TLS, mirrors."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from knarr.errors import UsageError
from knarr.oci.reference import DOCKER_HUB, normalise_registry
from knarr.registry.http.addresses import host_of, is_loopback

_T = TypeVar("_T")
_API_HOSTS = {DOCKER_HUB: "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """PEM files that a registry knows us by."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to check one host, and what to show it."""

    verify: bool = True
    ca_file: Path | None = None
    """Trusted for this host in addition to the system's."""
    client_certificate: ClientCertificate | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API to ask for a registry's repositories: the registry's own, or a mirror's."""

    registry: str
    """The name that credentials and TLS settings are kept under: the mirror's, where it is one."""
    base_url: str
    prefix: str = ""
    verify: bool = True
    """Whether certificates are checked, here and where it sends us; a host's rules may say no too."""

    @classmethod
    def of_url(cls, url: str) -> "Endpoint":
        """The host of a URL that is no registry's."""
        parts = urlsplit(url)
        return cls(parts.netloc, f"{parts.scheme}://{parts.netloc}")

    def repository(self, name: str) -> str:
        """What a repository is called here."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def url(self, repository: str, path: str) -> str:
        """URL of something in a repository that already has the endpoint's prefix."""
        return f"{self.base_url}/v2/{repository}/{path}"


@dataclass(frozen=True, slots=True)
class HostRules:
    """What the user said about registries; names are written as in image references."""

    insecure_push: bool = False
    insecure_pull: bool = False
    insecure_registries: Collection[str] = ()
    skip_verify: bool = False
    skip_verify_pull: bool = False
    skip_verify_registries: Collection[str] = ()
    ca_files: Mapping[str, Path] = field(default_factory=dict)
    client_certificates: Mapping[str, ClientCertificate] = field(default_factory=dict)
    system_ca_file: Path | None = None
    """Replaces the system's trusted certificates; None takes those that OpenSSL finds."""
    added_certificates: tuple[str, ...] = ()
    """PEM texts of certificates that are trusted for every host, beside the system's."""
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Registry to `host[:port][/prefix]` in the order to ask."""
    ask_origin: bool = True
    """Whether the registry itself is asked when no mirror has the image."""
    check_push: bool = True
    """Whether a build finds out first whether it may push."""
    leave_immutable_tags: bool = False
    """Whether a push ends well where a tag stands for another image and can't be moved."""

    def pull_endpoints(self, registry: str) -> tuple[Endpoint, ...]:
        """Where to ask for an image of a registry, in order; UsageError for a mirror that is not a host."""
        wanted = normalise_registry(registry)
        mirrors = [
            self._mirror(place)
            for name, places in self.mirrors.items()
            if normalise_registry(name) == wanted
            for place in places
        ]
        if mirrors and not self.ask_origin:
            return tuple(mirrors)
        return (*mirrors, self._pull_endpoint(wanted))

    def push_endpoint(self, registry: str) -> Endpoint:
        """Where a registry takes images; mirrors take none."""
        return self._endpoint(normalise_registry(registry), insecure=self.insecure_push)

    def for_cache(self) -> "HostRules":
        """The rules for a repository that is read as it is written, as kaniko's cache is; no mirror has it.

        A tag that can't be moved is left: what it stands for was kept under the same key.
        """
        return dataclasses.replace(
            self, mirrors={}, ask_origin=True, insecure_pull=self.insecure_push, leave_immutable_tags=True
        )

    def tls(self, host: str, *, verify: bool = True) -> TlsSettings:
        """The settings of `host[:port]`; what is said of one host never holds for another.

        `verify` is the endpoint's.
        """
        name = _registry_of_host(host)
        skip = self.skip_verify or _names(self.skip_verify_registries, name)
        return TlsSettings(
            verify=verify and not skip,
            ca_file=_value_of(self.ca_files, name),
            client_certificate=_value_of(self.client_certificates, name),
        )

    def host_settings(self) -> frozenset[TlsSettings]:
        """The settings of all hosts that have certificates of their own."""
        hosts = (*self.ca_files, *self.client_certificates)
        return frozenset(self.tls(host, verify=verify) for host in hosts for verify in (True, False))

    def _pull_endpoint(self, registry: str) -> Endpoint:
        endpoint = self._endpoint(registry, insecure=self.insecure_pull)
        return dataclasses.replace(endpoint, verify=not self.skip_verify_pull)

    def _endpoint(self, registry: str, *, insecure: bool) -> Endpoint:
        scheme = "http" if self._is_plain(registry, insecure=insecure) else "https"
        return Endpoint(registry, f"{scheme}://{_API_HOSTS.get(registry, registry)}")

    def _is_plain(self, registry: str, *, insecure: bool) -> bool:
        if insecure or _names(self.insecure_registries, registry):
            return True
        has_tls_settings = self.tls(registry) != TlsSettings(verify=not self.skip_verify)
        return is_loopback(host_of(registry)) and not has_tls_settings and not registry.endswith(":443")

    def _mirror(self, place: str) -> Endpoint:
        host, _, prefix = place.partition("/")
        if not host or "://" in place or "@" in place:
            raise UsageError(
                f"not a registry mirror: {place!r}",
                hint="a mirror is written host[:port][/prefix], without a scheme",
            )
        plain = self._pull_endpoint(normalise_registry(host))
        return dataclasses.replace(plain, prefix=prefix.strip("/"))


def _registry_of_host(host: str) -> str:
    return normalise_registry(host.removesuffix(":443"))


def _names(names: Collection[str], registry: str) -> bool:
    return any(_registry_of_host(name) == _registry_of_host(registry) for name in names)


def _value_of(table: Mapping[str, _T], registry: str) -> _T | None:
    return next((value for name, value in table.items() if _names((name,), registry)), None)
