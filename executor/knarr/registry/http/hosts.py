"""Rules for reaching registries: scheme, TLS, mirrors."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from knarr.errors import UsageError
from knarr.oci.reference import DOCKER_HUB, normalise_registry
from knarr.registry.http.addresses import host_of, is_local_name, is_loopback, is_rfc1918
from knarr.registry.http.locations import same_origin

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


class Plain(Enum):
    """Whether plain http may be spoken where https is not."""

    NEVER = "never"
    ASKED = "asked"
    """The user said so."""
    LOCAL = "local"
    """It goes no further than this machine."""
    TOLERATED = "tolerated"
    """Nobody said so, kaniko would: no credentials go that way."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API to ask for a registry's repositories: the registry's own, or a mirror's."""

    registry: str
    """The name that credentials and TLS settings are kept under: the mirror's, where it is one."""
    base_url: str
    """With http where that may be spoken: the client asks for https first, see `at`."""
    prefix: str = ""
    verify: bool = True
    """Whether certificates are checked, here and where it sends us; a host's rules may say no too."""
    plain: Plain = Plain.NEVER

    @classmethod
    def of_url(cls, url: str) -> "Endpoint":
        """The host of a URL that is no registry's."""
        parts = urlsplit(url)
        return cls(parts.netloc, f"{parts.scheme}://{parts.netloc}")

    def at(self, scheme: str) -> "Endpoint":
        """The same by this scheme."""
        return dataclasses.replace(self, base_url=f"{scheme}://{urlsplit(self.base_url).netloc}")

    def moved(self, url: str) -> str:
        """A URL of this API by the endpoint's scheme; any other URL as it is."""
        start = len("://".join(urlsplit(url)[:2]))
        return self.base_url + url[start:] if self.owns(url) else url

    def owns(self, url: str) -> bool:
        """Whether a URL is of this API, by a scheme that may be spoken here."""
        ours, theirs = urlsplit(self.base_url), urlsplit(url)
        if theirs.scheme == ours.scheme or self.plain is Plain.NEVER:
            return same_origin(url, self.base_url)
        return theirs.scheme in ("http", "https") and _bare(theirs.netloc) == _bare(ours.netloc)

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
    plain_private: bool = False
    """Whether private addresses and `.local` names may be spoken to in plain http, as kaniko does."""
    plain_redirects: Collection[str] = ()
    """Hosts that a registry may send us to for blobs though they speak plain http or are not for others."""
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
        return self._endpoint(normalise_registry(registry), asked=self.insecure_push)

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

    def may_redirect(self, netloc: str) -> bool:
        """Whether the user allows blobs from this host whatever its scheme and address."""
        return _names(self.plain_redirects, netloc)

    def _pull_endpoint(self, registry: str) -> Endpoint:
        return self._endpoint(registry, asked=self.insecure_pull, verify=not self.skip_verify_pull)

    def _endpoint(self, registry: str, *, asked: bool, verify: bool = True) -> Endpoint:
        plain = self._plain(registry, asked=asked, verify=verify)
        scheme = "http" if plain in (Plain.ASKED, Plain.LOCAL) else "https"
        return Endpoint(
            registry, f"{scheme}://{_API_HOSTS.get(registry, registry)}", verify=verify, plain=plain
        )

    def _plain(self, registry: str, *, asked: bool, verify: bool) -> Plain:
        if asked or _names(self.insecure_registries, registry):
            return Plain.ASKED
        settings = self.tls(registry, verify=verify)
        if settings.ca_file is not None or settings.client_certificate is not None:
            return Plain.NEVER  # who names a certificate wants TLS
        host = host_of(registry)
        if is_loopback(host):
            return Plain.NEVER if registry.endswith(":443") else Plain.LOCAL
        is_private = self.plain_private and (is_rfc1918(host) or is_local_name(host))
        return Plain.TOLERATED if is_private or not settings.verify else Plain.NEVER

    def _mirror(self, place: str) -> Endpoint:
        host, _, prefix = place.partition("/")
        if not host or "://" in place or "@" in place:
            raise UsageError(
                f"not a registry mirror: {place!r}",
                hint="a mirror is written host[:port][/prefix], without a scheme",
            )
        plain = self._pull_endpoint(normalise_registry(host))
        return dataclasses.replace(plain, prefix=prefix.strip("/"))


def _bare(netloc: str) -> str:
    return netloc.lower().removesuffix(":443").removesuffix(":80")


def _registry_of_host(host: str) -> str:
    return normalise_registry(host.removesuffix(":443"))


def _names(names: Collection[str], registry: str) -> bool:
    return any(_registry_of_host(name) == _registry_of_host(registry) for name in names)


def _value_of(table: Mapping[str, _T], registry: str) -> _T | None:
    return next((value for name, value in table.items() if _names((name,), registry)), None)
