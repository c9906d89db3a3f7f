"""Flags with environment to what the registry client needs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.values.certificates import find_certificates, read_ca, read_client_certificate
from knarr.cli.values.credentials import registry_credentials
from knarr.cli.values.environment import is_kaniko
from knarr.cli.values.grammar import parse_map, parse_pair
from knarr.dockerfile.language.durations import parse_duration_ns
from knarr.errors import DockerfileError, UsageError
from knarr.oci.reference import DOCKER_HUB, normalise_registry
from knarr.progress import Reporter
from knarr.registry.auth.cloud_service import CloudService
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.proxies import Proxies
from knarr.registry.http.retry import RetryPolicy
from knarr.registry.http.transport import Timeouts

_CERTIFICATE = "--registry-certificate"
_CLIENT_CERTIFICATE = "--registry-client-cert"
_MAX_ATTEMPTS = 100


def open_client(
    environment: Mapping[str, str], reporter: Reporter, flags: RegistryFlags, *, program: str | None = None
) -> Client:
    """The client of this process; the caller closes it. `program` is the name that it was started by.

    Raises UsageError for a flag's value, AuthError for credentials that can't be read.
    """
    rules = host_rules(environment, flags, program=program)
    proxies = Proxies.parse(environment)
    service = CloudService(proxies, rules.system_ca_file, rules.added_certificates)
    return Client(
        rules=rules,
        credentials=registry_credentials(environment, service, flags.credential_helpers, reporter),
        proxies=proxies,
        policy=RetryPolicy(
            extra_pushes=_count(flags.push_retry, "--push-retry"),
            extra_manifest_reads=_count(flags.image_download_retry, "--image-download-retry"),
        ),
        timeouts=_timeouts(flags.registry_answer_timeout),
        reporter=reporter,
    )


def _timeouts(text: str) -> Timeouts:
    flag = "--registry-answer-timeout"
    try:
        nanoseconds = parse_duration_ns(text) if text else 0
    except DockerfileError as error:
        raise UsageError(f"{flag}: {error.message}", hint="write 30m, 90s or 1h30m") from error
    if nanoseconds < 0:
        raise UsageError(f"{flag} {text} is negative")
    # Nothing, as a pipeline's empty variable gives it, is the default.
    return Timeouts(answer_s=nanoseconds / 10**9) if text else Timeouts()


def host_rules(
    environment: Mapping[str, str], flags: RegistryFlags, *, program: str | None = None
) -> HostRules:
    """What flags and variables say about registries. Raises UsageError."""
    certificates = environment.get("SSL_CERT_FILE")
    trusts_all = not flags.tls_verify.on
    rules = HostRules(
        insecure_push=flags.insecure.on or trusts_all,
        insecure_pull=flags.insecure_pull.on or trusts_all,
        insecure_registries=_hosts(flags.insecure_registry, "--insecure-registry"),
        plain_private=is_kaniko(program),
        plain_redirects=_hosts(flags.insecure_redirect, "--insecure-redirect"),
        skip_verify=flags.skip_tls_verify.on or trusts_all,
        skip_verify_pull=flags.skip_tls_verify_pull.on or trusts_all,
        skip_verify_registries=_hosts(flags.skip_tls_verify_registry, "--skip-tls-verify-registry"),
        ca_files={
            host: read_ca(text, _CERTIFICATE)
            for host, text in _by_host(flags.registry_certificate, _CERTIFICATE)
        },
        client_certificates={
            host: read_client_certificate(text, _CLIENT_CERTIFICATE)
            for host, text in _by_host(flags.registry_client_cert, _CLIENT_CERTIFICATE)
        },
        system_ca_file=Path(certificates) if certificates else None,
        added_certificates=find_certificates(environment),
        mirrors=_mirrors(environment, flags),
        ask_origin=not flags.skip_default_registry_fallback.on,
        check_push=not flags.skip_push_permission_check.on,
        leave_immutable_tags=flags.push_ignore_immutable_tag_errors.on,
    )
    for registry in rules.mirrors:
        rules.pull_endpoints(registry)  # a mirror that is none is told now, not in the middle of a build
    return rules


def _mirrors(environment: Mapping[str, str], flags: RegistryFlags) -> dict[str, tuple[str, ...]]:
    """Places by registry in the order to ask: maps before mirrors, flags before variables."""
    pairs = [
        *parse_map(flags.registry_map, "--registry-map"),
        *parse_map([environment.get("KANIKO_REGISTRY_MAP", "")], "KANIKO_REGISTRY_MAP"),
        *((DOCKER_HUB, place) for place in flags.registry_mirror),
        *((DOCKER_HUB, place) for place in (environment.get("KANIKO_REGISTRY_MIRROR"),) if place),
    ]
    mirrors: dict[str, tuple[str, ...]] = {}
    for name, place in pairs:
        registry = normalise_registry(name.strip())
        known = mirrors.get(registry, ())
        if place not in known:
            mirrors[registry] = (*known, place.strip())
    return mirrors


def _by_host(values: Iterable[str], flag: str) -> list[tuple[str, str]]:
    pairs = [parse_pair(text, flag) for text in values]
    return [(parse_host(host, flag), text) for host, text in pairs]


def _hosts(values: Iterable[str], flag: str) -> tuple[str, ...]:
    return tuple(parse_host(text, flag) for text in values)


def parse_host(text: str, flag: str) -> str:
    """`HOST[:PORT]`, of a URL as well; UsageError for anything with a path."""
    host = text.strip().removeprefix("https://").removeprefix("http://").rstrip("/")
    if not host or not host.isascii() or any(each in host for each in "/@?#, ") or not host.isprintable():
        raise UsageError(f"{flag} takes HOST[:PORT], got {text!r}")
    return host


def _count(text: str, flag: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or int(text[:9]) > _MAX_ATTEMPTS:
        raise UsageError(f"{flag} takes a number from 0 to {_MAX_ATTEMPTS}, got {text!r}")
    return int(text)
