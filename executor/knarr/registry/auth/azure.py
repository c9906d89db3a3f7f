"""Credentials for Azure's container registries: a service principal, or a helper program."""

import re
from dataclasses import dataclass, field

from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import Credentials, Lookup, ask_helper

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.azurecr\.io", re.ASCII)
_PROGRAM = "acr-env"


def is_azure_registry(registry: str) -> bool:
    """Whether a normalised registry name is `NAME.azurecr.io`."""
    return _HOST.fullmatch(registry) is not None


@dataclass(frozen=True, slots=True)
class AzureProvider:
    """A service principal's id with its secret are user and password of a registry."""

    principal: Credentials | None = field(default=None, repr=False)
    helpers: CredentialHelpers = field(default_factory=CredentialHelpers)
    name: str = "acr"

    def lookup(self, registry: str) -> Lookup:
        """Credentials for a registry of Azure's; nothing for any other."""
        if not is_azure_registry(registry):
            return Lookup()
        if self.principal is not None:
            return Lookup(self.principal)
        if self.helpers.has(_PROGRAM):
            return ask_helper(self.helpers, _PROGRAM, registry, is_implicit=True)
        return Lookup(remarks=("acr: AZURE_CLIENT_ID with AZURE_CLIENT_SECRET are not set",))
