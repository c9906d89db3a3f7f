"""Providers of credentials: the order, each registry once, nothing for those that only look alike."""

import json
from dataclasses import dataclass, field

import pytest

from knarr.registry.auth.azure import AzureProvider, is_azure_registry
from knarr.registry.auth.credentials import CredentialProvider, Credentials, CredentialStore, Lookup
from knarr.registry.auth.ecr import parse_ecr_host
from knarr.registry.auth.given_credentials import HostVariables, OneRegistry, variable_names
from knarr.registry.auth.google import is_google_registry
from knarr.registry.auth.providers import ProviderChain

LOOKALIKES = """
gcr.io.evil.com evil-gcr.io gcr.io-evil.com xgcr.io gcr.io.evil eu.gcr.io.evil.com gcr.iox gcr-io.com
gcr.io:8080 gcr.io:5000 a.b.gcr.io evil.com.gcr.io.evil.com .gcr.io gcrxio gcr.io. pkg.dev
pkg.dev.evil.com us-docker.pkg.dev.evil.com us-docker-pkg.dev us-dockerpkg.dev us-docker.pkg.dev:8443
a.b.pkg.dev google.com.evil.com metadata.google.internal 169.254.169.254
123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.com
123456789012.dkr.ecr.us-east-1.amazonaws.com.cn.evil.com 12345678901.dkr.ecr.us-east-1.amazonaws.com
1234567890123.dkr.ecr.us-east-1.amazonaws.com 123456789012.dkr.ecr.evil.com.us-east-1.amazonaws.com
123456789012.dkr.ecr.us-east-1.evil.com 123456789012.dkr.ecr.us-east-1.amazonaws.com:8443
123456789012.dkr.ecr.us-east-1.amazonawsxcom 123456789012xdkr.ecr.us-east-1.amazonaws.com
dkr.ecr.us-east-1.amazonaws.com 123456789012.dkr.ecr.us-east-1.amazonaws.org
x.123456789012.dkr.ecr.us-east-1.amazonaws.com 123456789012.dkr.ecr.us_east_1.amazonaws.com
123456789012.dkr.ecr..amazonaws.com 123456789012.dkr.ecr.us-east-1.amazonaws.com.cn.cn
123456789012.s3.us-east-1.amazonaws.com azurecr.io mine.azurecr.io.evil.com mine-azurecr.io
mineazurecr.io mine.azurecr.io:8443 a.mine.azurecr.io .azurecr.io -mine.azurecr.io mine.azurecr.iox
mine.azurecr.com xn--azurecr.io
""".split()


def test_there_are_enough_lookalikes() -> None:
    assert len(set(LOOKALIKES)) >= 40


@pytest.mark.parametrize("registry", [*LOOKALIKES, "gcr.io\n", "eu.gcr.io\n", "mine.azurecr.io\n"])
def test_lookalikes_are_nobodys(registry: str) -> None:
    assert not is_google_registry(registry)
    assert parse_ecr_host(registry) is None
    assert not is_azure_registry(registry)


@pytest.mark.parametrize("registry", ["gcr.io", "eu.gcr.io", "us.gcr.io", "us-central1-docker.pkg.dev"])
def test_registries_of_google(registry: str) -> None:
    assert is_google_registry(registry)


@pytest.mark.parametrize(
    ("registry", "place"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", ("eu-west-1", "amazonaws.com")),
        ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", ("us-gov-west-1", "amazonaws.com")),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", ("cn-north-1", "amazonaws.com.cn")),
    ],
)
def test_registries_of_aws(registry: str, place: tuple[str, str]) -> None:
    assert parse_ecr_host(registry) == place


def test_service_principal_is_for_azure_alone() -> None:
    principal = Credentials("AZURE_CLIENT_ID", "id", "secret")
    provider = AzureProvider(principal)
    assert provider.lookup("mine.azurecr.io") == Lookup(principal)
    assert provider.lookup("ghcr.io") == Lookup()
    assert AzureProvider().lookup("mine.azurecr.io").remarks
    assert "secret" not in repr(provider)


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        ("ghcr.io", ["GHCR_IO"]),
        ("docker.io", ["INDEX_DOCKER_IO", "DOCKER_IO"]),
        ("my-reg.eu.example.com:5000", ["MY_REG_EU_EXAMPLE_COM", "EU_EXAMPLE_COM", "EXAMPLE_COM"]),
        ("localhost:5000", ["LOCALHOST"]),
    ],
)
def test_names_of_variables(registry: str, names: list[str]) -> None:
    assert list(variable_names(registry)) == names


def test_variables_of_the_host_come_before_those_of_its_domain() -> None:
    domain, host = Credentials("d", "domain", "1"), Credentials("h", "host", "2")
    provider = HostVariables({"EXAMPLE_COM": domain, "REG_EXAMPLE_COM": host, "COM": domain})
    assert provider.lookup("reg.example.com").credentials == host
    assert provider.lookup("other.example.com").credentials == domain
    assert provider.lookup("example.com").credentials == domain
    for stranger in ("example.com.evil.net", "evil.com", "notexample.com"):
        assert provider.lookup(stranger) == Lookup()


@pytest.mark.parametrize(
    ("own", "registry", "is_its"),
    [
        ("registry.gitlab.com", "registry.gitlab.com", True),
        ("Registry.gitlab.com:443", "registry.gitlab.com", True),
        ("gitlab.corp:5050", "gitlab.corp:5050", True),
        ("gitlab.corp:5050", "gitlab.corp", False),
        ("gitlab.corp", "gitlab.corp.evil.com", False),
        ("gitlab.corp", "registry.gitlab.corp", False),
    ],
)
def test_one_registry(own: str, registry: str, *, is_its: bool) -> None:
    credentials = Credentials("CI_REGISTRY_USER", "ci", "secret")
    found = OneRegistry("gitlab", own, credentials).lookup(registry)
    assert (found.credentials == credentials) is is_its


@dataclass
class Recorded:
    """A provider that counts."""

    name: str
    answer: Lookup = field(default_factory=Lookup)
    asked: list[str] = field(default_factory=list)

    def lookup(self, registry: str) -> Lookup:
        self.asked.append(registry)
        return self.answer


def test_first_that_knows_counts_and_each_registry_is_asked_for_once() -> None:
    known = Credentials("second", "bob", "secret")
    first = Recorded("first", Lookup(notes=("broken",), remarks=("no",)))
    second, third = Recorded("second", Lookup(known)), Recorded("third", Lookup(Credentials("x", "y", "z")))
    providers: list[CredentialProvider] = [first, second, third]
    chain = ProviderChain(providers)
    for _ in range(3):
        assert chain.lookup("ghcr.io") == Lookup(known, ("broken",), ("no",))
    assert (first.asked, second.asked, third.asked) == (["ghcr.io"], ["ghcr.io"], [])
    chain.lookup("quay.io")
    assert second.asked == ["ghcr.io", "quay.io"]
    assert chain.name == "first, second, third"


def test_credentials_that_end_are_asked_for_again_before() -> None:
    now = [0.0]
    provider = Recorded("cloud", Lookup(Credentials("cloud", "bob", "1"), life_s=100))
    chain = ProviderChain([provider], clock=lambda: now[0])
    assert chain.lookup("ghcr.io").life_s == pytest.approx(80)
    now[0] = 79
    assert chain.lookup("ghcr.io").life_s == pytest.approx(1)
    assert len(provider.asked) == 1
    now[0] = 80
    assert chain.lookup("ghcr.io").life_s == pytest.approx(80)
    assert len(provider.asked) == 2


def test_config_file_comes_before_all_providers() -> None:
    provider = Recorded("cloud", Lookup(Credentials("cloud", "cloud", "1")))
    document = {"auths": {"ghcr.io": {"username": "file", "password": "2"}, "quay.io": {}}}
    store = CredentialStore.parse(json.dumps(document).encode(), "config.json")
    store = CredentialStore(store.entries, sources=store.sources, provider=provider)
    assert store.lookup("ghcr.io", "a").credentials == Credentials("config.json", "file", "2")
    assert provider.asked == []
    assert store.lookup("quay.io", "a").credentials == Credentials("cloud", "cloud", "1")
    assert store.looked_in() == "config.json (has ghcr.io, quay.io), credential helpers cloud"
