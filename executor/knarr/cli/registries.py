"""Flags with environment to what the registry client needs."""

from collections.abc import Mapping
from pathlib import Path

from knarr.cli.certificates import find_certificates
from knarr.cli.environment import auth_config_text, find_docker_config
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.grammar import parse_map
from knarr.progress import Reporter
from knarr.registry.client import Client
from knarr.registry.credentials import CredentialStore
from knarr.registry.hosts import HostRules
from knarr.registry.proxies import Proxies


def open_client(environment: Mapping[str, str], reporter: Reporter, flags: RegistryFlags) -> Client:
    """The client of this process; the caller closes it. Raises AuthError for unreadable credentials."""
    mirrors: dict[str, tuple[str, ...]] = {}
    for registry, place in parse_map(flags.registry_map, "--registry-map"):
        mirrors[registry] = (*mirrors.get(registry, ()), place)
    certificates = environment.get("SSL_CERT_FILE")
    rules = HostRules(
        insecure_push=flags.insecure.on,
        insecure_pull=flags.insecure_pull.on,
        insecure_registries=flags.insecure_registry,
        system_ca_file=Path(certificates) if certificates else None,
        added_certificates=find_certificates(environment),
        mirrors=mirrors,
    )
    return Client(
        rules=rules,
        credentials=_credentials(environment),
        proxies=Proxies.parse(environment),
        reporter=reporter,
    )


def _credentials(environment: Mapping[str, str]) -> CredentialStore:
    store = CredentialStore()
    for text in (find_docker_config(environment), auth_config_text(environment)):
        if text is not None:
            store = store.overlaid(CredentialStore.parse(text.data, text.source))
    return store
