import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from knarr.errors import RegistryError
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.http.hosts import ClientCertificate, HostRules
from knarr.registry.http.message import Request
from knarr.registry.transfer.push import check_push
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry import make_certificates, server_context


@dataclass(frozen=True)
class Certificates:
    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(*make_certificates(tmp_path_factory.mktemp("certificates")))


@pytest.fixture
def strict(certificates: Certificates) -> ssl.SSLContext:
    """Wants to see a certificate of the client."""
    return server_context(certificates.certificate, certificates.key, clients=certificates.ca)


def _ask(client: Client, registry: FaultyRegistry) -> bytes:
    endpoint = client.rules.push_endpoint(registry.host)
    return client.fetch(Request("GET", endpoint, endpoint.url("a", "tags/list"), "list")).body


def test_client_certificate_is_shown_to_its_host(certificates: Certificates, strict: ssl.SSLContext) -> None:
    pair = ClientCertificate(certificates.certificate, certificates.key)
    with FaultyRegistry(lambda asked: Answer(200, b"well"), tls=strict) as registry:
        trust = {registry.host: certificates.ca}
        with Client(rules=HostRules(ca_files=trust, client_certificates={registry.host: pair})) as client:
            assert _ask(client, registry) == b"well"
        other = HostRules(ca_files=trust, client_certificates={"elsewhere.example.com": pair})
        with Client(rules=other, sleep=lambda wait_s: None) as client, pytest.raises(RegistryError):
            _ask(client, registry)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_broken_certificate_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with FaultyRegistry(lambda asked: Answer(200)) as registry:
        with Client(rules=HostRules(ca_files={registry.host: path})) as client:
            with pytest.raises(RegistryError, match="can't load certificates") as caught:
                _ask(client, registry)
    assert str(path) in str(caught.value)


def test_http_location_behind_tls_stays_https(certificates: Certificates) -> None:
    context = server_context(certificates.certificate, certificates.key)

    def script(asked: Asked) -> Answer:
        place = f"http://{asked.headers['host']}/v2/team/app/blobs/uploads/1?_state=x"
        return Answer(202, headers={"Location": place}) if asked.method == "POST" else Answer(204)

    with FaultyRegistry(script, tls=context) as registry:
        with Client(rules=HostRules(ca_files={registry.host: certificates.ca})) as client:
            check_push(client, Reference.parse(f"{registry.host}/team/app"))
    assert registry.lines[-1] == "DELETE /v2/team/app/blobs/uploads/1?_state=x"


def test_files_are_needed_no_more_after_prepare(
    tmp_path: Path, certificates: Certificates, strict: ssl.SSLContext
) -> None:
    copies = Certificates(*(tmp_path / name for name in ("ca", "certificate", "key")))
    for source, copy in zip(vars(certificates).values(), vars(copies).values(), strict=True):
        copy.write_bytes(source.read_bytes())
    pair = ClientCertificate(copies.certificate, copies.key)
    with FaultyRegistry(lambda asked: Answer(200, b"well"), tls=strict) as registry:
        rules = HostRules(ca_files={registry.host: copies.ca}, client_certificates={registry.host: pair})
        with Client(rules=rules) as client:
            client.prepare()
            for copy in vars(copies).values():
                copy.unlink()
            assert _ask(client, registry) == b"well"
