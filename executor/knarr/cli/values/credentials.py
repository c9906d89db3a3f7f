"""Credentials from files and variables, in kaniko's order."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from knarr.cli.values.environment import auth_config_text, config_paths, find_docker_config
from knarr.exec.bundle import is_lasting, runs_from_image
from knarr.progress import Note, Reporter
from knarr.registry.auth.aws_roles import WebIdentity
from knarr.registry.auth.aws_signature import AwsKeys
from knarr.registry.auth.azure import AzureProvider
from knarr.registry.auth.cloud_service import CloudService
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import CredentialProvider, Credentials, CredentialStore
from knarr.registry.auth.ecr import EcrProvider
from knarr.registry.auth.given_credentials import HostVariables, OneRegistry
from knarr.registry.auth.google import GoogleProvider
from knarr.registry.auth.providers import ProviderChain

_HOST_VARIABLE = re.compile(r"KANIKO_([A-Z0-9_]+)_USER")


def registry_credentials(
    environment: Mapping[str, str], service: CloudService, helpers: Sequence[str], reporter: Reporter
) -> CredentialStore:
    """Config file and DOCKER_AUTH_CONFIG, then the helpers: those named, or all where none is.

    `("",)` is no helper at all. Nothing is run and no cloud asked before a registry wants credentials. Raises
    AuthError for a file that can't be read.
    """
    programs = helper_programs(environment)
    store = CredentialStore(
        helpers=programs,
        provider=ProviderChain(
            tuple(_providers(_Sources(environment, programs, service), helpers, reporter))
        ),
        absent=tuple(_absent(config_paths(environment))),
    )
    for text in (find_docker_config(environment), auth_config_text(environment)):
        if text is not None:
            store = store.overlaid(CredentialStore.parse(text.data, text.source))
    return store


def helper_programs(environment: Mapping[str, str]) -> CredentialHelpers:
    """The docker-credential-* programs of PATH; they see the whole environment.

    In an image of ours those of its own directories alone: in the others, a build in place has what a base
    image brought.
    """
    path = environment.get("PATH", "")
    if runs_from_image():
        path = os.pathsep.join(each for each in path.split(os.pathsep) if is_lasting(Path(each)))
    return CredentialHelpers(path, environment)


@dataclass(frozen=True, slots=True, repr=False)
class _Sources:
    """What providers are made of."""

    environment: Mapping[str, str]
    programs: CredentialHelpers
    service: CloudService

    def value(self, name: str) -> str:
        return self.environment.get(name, "")


def _providers(sources: _Sources, names: Sequence[str], reporter: Reporter) -> Iterator[CredentialProvider]:
    for name in names or _PROVIDERS:
        make = _PROVIDERS.get(name)
        if make is not None:
            yield from make(sources)
        elif name:
            known = ", ".join(_PROVIDERS)
            reporter.report(Note(f"--credential-helpers: {name!r} is unknown; there are {known}", "warning"))


def _env(sources: _Sources) -> Iterator[CredentialProvider]:
    found = {}
    for variable, user in sources.environment.items():
        match = _HOST_VARIABLE.fullmatch(variable)
        password = sources.value(f"KANIKO_{match[1]}_PASSWORD") if match is not None else ""
        if match is not None and user and password:
            found[match[1]] = Credentials(variable, user, password)
    yield HostVariables(found)


def _google(sources: _Sources) -> Iterator[CredentialProvider]:
    key = sources.value("GOOGLE_APPLICATION_CREDENTIALS")
    yield GoogleProvider(Path(key) if key else None, sources.programs, sources.service)


def _ecr(sources: _Sources) -> Iterator[CredentialProvider]:
    key, secret = sources.value("AWS_ACCESS_KEY_ID"), sources.value("AWS_SECRET_ACCESS_KEY")
    role, token = sources.value("AWS_ROLE_ARN"), sources.value("AWS_WEB_IDENTITY_TOKEN_FILE")
    session = sources.value("AWS_ROLE_SESSION_NAME") or "knarr"
    keys = AwsKeys("AWS_ACCESS_KEY_ID", key, secret, sources.value("AWS_SESSION_TOKEN"))
    yield EcrProvider(
        keys if key and secret else None,
        WebIdentity(role, Path(token), session) if role and token else None,
        sources.programs,
        sources.service,
    )


def _acr(sources: _Sources) -> Iterator[CredentialProvider]:
    user, secret = sources.value("AZURE_CLIENT_ID"), sources.value("AZURE_CLIENT_SECRET")
    principal = Credentials("AZURE_CLIENT_ID", user, secret, is_implicit=True) if user and secret else None
    yield AzureProvider(principal, sources.programs)


def _gitlab(sources: _Sources) -> Iterator[CredentialProvider]:
    registry = sources.value("CI_REGISTRY").rpartition("://")[2].partition("/")[0]
    user, password = sources.value("CI_REGISTRY_USER"), sources.value("CI_REGISTRY_PASSWORD")
    if registry and user and password:
        job = Credentials("CI_REGISTRY_USER", user, password, is_implicit=True)
        yield OneRegistry("gitlab", registry, job)


_PROVIDERS: Mapping[str, Callable[[_Sources], Iterator[CredentialProvider]]] = MappingProxyType(
    {"env": _env, "google": _google, "ecr": _ecr, "acr": _acr, "gitlab": _gitlab}
)


def _absent(paths: Iterator[Path]) -> Iterator[str]:
    for path in paths:
        is_file = path.parent.is_file()
        yield f"{path}: DOCKER_CONFIG must name a directory" if is_file else str(path)
