"""Flags with environment to what the registry client needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from knarr.cli.environment import auth_config_text, find_docker_config
from knarr.progress import Reporter
from knarr.registry.client import Client
from knarr.registry.credentials import CredentialStore
from knarr.registry.hosts import HostRules
from knarr.registry.proxies import Proxies


def open_client(
    environment: Mapping[str, str],
    reporter: Reporter,
    *,
    insecure_push: bool,
    insecure_pull: bool,
    insecure_registries: Sequence[str],
    registry_map: Sequence[tuple[str, str]],
) -> Client:
    """The client of this process; the caller closes it. Raises AuthError for unreadable credentials."""
    mirrors: dict[str, tuple[str, ...]] = {}
    for registry, place in registry_map:
        mirrors[registry] = (*mirrors.get(registry, ()), place)
    certificates = environment.get("SSL_CERT_FILE")
    rules = HostRules(
        insecure_push=insecure_push,
        insecure_pull=insecure_pull,
        insecure_registries=tuple(insecure_registries),
        system_ca_file=Path(certificates) if certificates else None,
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
