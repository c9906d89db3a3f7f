from pathlib import Path

import pytest

from knarr.errors import UsageError
from knarr.registry.http.hosts import ClientCertificate, HostRules, TlsSettings


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("index.docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("localhost:5000", "http://localhost:5000"),
        ("registry.localhost", "http://registry.localhost"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("127.9.9.9", "http://127.9.9.9"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("localhost:443", "https://localhost:443"),
        ("localhost.example.com", "https://localhost.example.com"),
        ("127.0.0.1.example.com:5000", "https://127.0.0.1.example.com:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("192.168.1.1", "https://192.168.1.1"),
        ("registry.local", "https://registry.local"),
    ],
)
def test_plain_http_only_for_loopback(registry: str, url: str) -> None:
    rules = HostRules()
    assert rules.push_endpoint(registry).base_url == url
    assert [endpoint.base_url for endpoint in rules.pull_endpoints(registry)] == [url]


def test_plain_http_where_the_user_said_so() -> None:
    rules = HostRules(insecure_registries=("Nexus.corp:8082",))
    assert rules.push_endpoint("nexus.corp:8082").base_url == "http://nexus.corp:8082"
    assert rules.push_endpoint("nexus.corp").base_url == "https://nexus.corp"
    assert HostRules(insecure_push=True).push_endpoint("a.io").base_url == "http://a.io"
    assert HostRules(insecure_push=True).pull_endpoints("a.io")[0].base_url == "https://a.io"
    assert HostRules(insecure_pull=True).pull_endpoints("a.io")[0].base_url == "http://a.io"


def test_loopback_with_a_ca_speaks_tls() -> None:
    rules = HostRules(ca_files={"localhost:5000": Path("/ca.pem")})
    assert rules.push_endpoint("localhost:5000").base_url == "https://localhost:5000"
    assert HostRules(skip_verify=True).push_endpoint("localhost:5000").base_url == "http://localhost:5000"


def test_tls_settings_are_of_one_host() -> None:
    pair = ClientCertificate(Path("/cert"), Path("/key"))
    rules = HostRules(
        skip_verify_registries=("a.io",), ca_files={"b.io": Path("/b")}, client_certificates={"c.io": pair}
    )
    assert rules.tls("a.io") == TlsSettings(verify=False)
    assert rules.tls("a.io:443") == TlsSettings(verify=False)
    assert rules.tls("a.io:5000") == TlsSettings()
    assert rules.tls("b.io") == TlsSettings(ca_file=Path("/b"))
    assert rules.tls("c.io") == TlsSettings(client_certificate=pair)
    assert rules.tls("storage.a.io") == TlsSettings()


@pytest.mark.parametrize("key", ["docker.io", "index.docker.io"])
def test_mirrors_come_before_the_registry(key: str) -> None:
    rules = HostRules(mirrors={key: ("mirror.corp/hub/", "localhost:5000"), "quay.io": ("q.corp",)})
    first, second, last = rules.pull_endpoints("docker.io")
    assert (first.base_url, first.repository("library/a")) == ("https://mirror.corp", "hub/library/a")
    assert first.url("hub/library/a", "manifests/1") == "https://mirror.corp/v2/hub/library/a/manifests/1"
    assert (second.base_url, second.repository("library/a")) == ("http://localhost:5000", "library/a")
    assert (first.registry, second.registry, last.registry) == ("mirror.corp", "localhost:5000", "docker.io")
    assert rules.push_endpoint("docker.io") == last


def test_without_fallback_only_mirrors_are_asked() -> None:
    rules = HostRules(mirrors={"docker.io": ("mirror.corp",)}, ask_origin=False)
    assert [endpoint.registry for endpoint in rules.pull_endpoints("docker.io")] == ["mirror.corp"]
    assert [endpoint.registry for endpoint in rules.pull_endpoints("quay.io")] == ["quay.io"]


@pytest.mark.parametrize("place", ["https://mirror.corp", "user@mirror.corp", "", "/prefix"])
def test_mirror_is_a_host(place: str) -> None:
    with pytest.raises(UsageError, match="not a registry mirror"):
        HostRules(mirrors={"docker.io": (place,)}).pull_endpoints("docker.io")
