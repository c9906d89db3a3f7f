"""https first, plain http where that is not spoken. The oracle is what a registry sees of credentials."""

import base64
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.errors import AuthError, RegistryError
from knarr.registry.auth.credentials import Credentials, CredentialStore
from knarr.registry.auth.given_credentials import OneRegistry
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.message import Request
from knarr.registry.http.proxies import Proxies
from knarr.registry.http.retry import RetryPolicy
from support.faulty_registry import Answer, Asked, FaultyRegistry, Script
from support.knarr_cli import EXECUTOR
from support.memory_registry import MemoryRegistry
from support.registry import make_certificates, server_context
from support.registry_flags import IMAGE, USER, opened
from support.registry_images import Events

BASIC = "Basic " + base64.b64encode(b"sailor:correct horse").decode()
FAST = RetryPolicy(first_wait_s=0.001)


def locked(script: Script) -> Script:
    """The same for who shows a password."""

    def answer(asked: Asked) -> Answer:
        if asked.headers.get("authorization") != BASIC:
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return script(asked)

    return answer


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    ca, certificate, key = make_certificates(tmp_path_factory.mktemp("tls"))
    return server_context(certificate, key), ca


@pytest.fixture
def registry(request: pytest.FixtureRequest, tls: tuple[ssl.SSLContext, Path]) -> Iterator[FaultyRegistry]:
    """One that speaks what the parameter says."""
    context = tls[0] if request.param != "plain" else None
    with FaultyRegistry(locked(MemoryRegistry()), tls=context, both=request.param == "both") as started:
        yield started


@pytest.mark.parametrize(
    ("registry", "flags", "environment", "scheme"),
    [
        ("plain", "", "", "http"),
        ("plain", "--insecure", "", "http"),
        ("plain", "--insecure --skip-tls-verify", "", "http"),
        ("plain", "--insecure-registry={host}", "", "http"),
        ("plain", "--skip-tls-verify", "", "http"),
        ("plain", "--skip-tls-verify-registry={host}", "", "http"),
        ("plain", "--registry-certificate={host}={ca} --insecure", "", "http"),
        ("tls", "", "SSL_CERT_FILE", "https"),
        ("tls", "", "", None),
        ("tls", "--insecure", "SSL_CERT_FILE", "https"),
        ("tls", "--insecure", "", None),
        ("tls", "--insecure --skip-tls-verify", "", "https"),
        ("tls", "--insecure-registry={host} --skip-tls-verify-registry={host}", "", "https"),
        ("tls", "--insecure-registry={host} --registry-certificate={host}={ca}", "", "https"),
        ("tls", "--skip-tls-verify", "", "https"),
        ("tls", "--skip-tls-verify-registry={host}", "", "https"),
        ("both", "", "SSL_CERT_FILE", "https"),
        ("both", "", "", None),
        ("both", "--insecure", "SSL_CERT_FILE", "https"),
        ("both", "--insecure", "", None),
        ("both", "--insecure --skip-tls-verify", "", "https"),
        ("both", "--insecure-registry={host} --skip-tls-verify", "", "https"),
    ],
    indirect=["registry"],
)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_push(
    registry: FaultyRegistry,
    tls: tuple[ssl.SSLContext, Path],
    flags: str,
    environment: str,
    scheme: str | None,
    name: str,
) -> None:
    host = registry.host.replace("127.0.0.1", name)
    variables = {**USER, "KANIKO_LOCALHOST_USER": "sailor", "KANIKO_LOCALHOST_PASSWORD": "correct horse"}
    variables |= {environment: str(tls[1])} if environment else {}
    found = opened(*flags.format(host=host, ca=tls[1]).split(), environment=variables)
    with found.client:
        if scheme is None:
            with pytest.raises(RegistryError, match="is not trusted") as caught:
                found.push(f"{host}/a:1")
            assert f"--skip-tls-verify-registry={host}" in str(caught.value)
            assert not registry.asked
            return
        found.push(f"{host}/a:1")
    assert {asked.is_tls for asked in registry.asked} == {scheme == "https"}
    assert registry.asked[0].headers.get("authorization") is None
    assert registry.lines[-1] == "PUT /v2/a/manifests/1"


@pytest.mark.parametrize("registry", ["plain", "tls", "both"], indirect=True)
@pytest.mark.parametrize("flag", ["--insecure-pull", "--insecure-registry={host}"])
def test_a_pull(registry: FaultyRegistry, tls: tuple[ssl.SSLContext, Path], flag: str) -> None:
    found = opened(flag.format(host=registry.host), "--skip-tls-verify-pull", environment=USER)
    trusting = opened(environment=USER | {"SSL_CERT_FILE": str(tls[1])})
    with found.client, trusting.client:
        trusting.push(f"{registry.host}/a:1")
        assert found.pull(f"{registry.host}/a:1").descriptor == IMAGE.descriptor
        flags = (f"--registry-map=docker.io={registry.host}/a", flag, "--skip-tls-verify-pull")
        mirrored = opened(*(text.format(host=registry.host) for text in flags), environment=USER)
        with mirrored.client:
            trusting.push(f"{registry.host}/a/library/b:latest")
            assert mirrored.pull("b").descriptor == IMAGE.descriptor
    assert len({asked.is_tls for asked in registry.asked}) == 1


def _answers(answer: Answer) -> Script:
    return lambda asked: answer


def _through(proxy: FaultyRegistry, rules: HostRules, **more: object) -> Client:
    """A client for which `proxy` is all hosts."""
    proxies = Proxies(http=f"http://{proxy.host}", https=f"http://{proxy.host}")
    return Client(rules=rules, proxies=proxies, policy=FAST, sleep=lambda wait_s: None, **more)  # type: ignore[arg-type]


def _ask(client: Client, name: str) -> bytes:
    endpoint = client.rules.push_endpoint(name)
    url = endpoint.url("team/app", "manifests/1")
    return client.fetch(
        Request("GET", endpoint, url, "read it", "team/app", ("repository:team/app:pull",))
    ).body


def _no_tls(script: Script) -> Script:
    """A proxy behind which nothing speaks TLS: or somebody is in between who breaks it."""
    return lambda asked: Answer(502) if asked.method == "CONNECT" else script(asked)


PRIVATE = ["10.0.0.5:5000", "172.16.4.4", "192.168.1.9:80", "registry.local", "registry.corp.local:5000"]


@pytest.mark.parametrize("name", PRIVATE)
def test_kanikos_executor_speaks_plain_http_to_private_hosts(name: str) -> None:
    events = Events()
    with FaultyRegistry(_no_tls(_answers(Answer(200, b"well")))) as proxy:
        with _through(proxy, HostRules(plain_private=True), reporter=events) as client:
            assert [_ask(client, name) for _ in range(3)] == [b"well"] * 3
            with client.for_cache(patient=True) as cache:
                assert _ask(cache, name) == b"well"
        assert proxy.lines[0].startswith("CONNECT ")
        assert proxy.lines.count(f"CONNECT {name if ':' in name else f'{name}:443'}") == 1
    (note,) = [str(event) for event in events.events]
    assert f"--insecure-registry={name}" in note


@pytest.mark.parametrize("name", [*PRIVATE, "172.32.0.1", "11.0.0.1", "registry.local.example.com"])
def test_others_speak_it_to_nobody_unasked(name: str) -> None:
    with FaultyRegistry(_no_tls(_answers(Answer(200, b"well")))) as proxy:
        plain = HostRules(plain_private=name not in PRIVATE)
        with _through(proxy, plain) as client, pytest.raises(RegistryError):
            _ask(client, name)
        assert {asked.method for asked in proxy.asked} == {"CONNECT"}
        with _through(proxy, HostRules(insecure_registries=(name,))) as client:
            assert _ask(client, name) == b"well"


@pytest.mark.parametrize(
    "rules",
    [
        HostRules(plain_private=True),
        HostRules(skip_verify=True),
        HostRules(skip_verify_registries=("10.0.0.5:5000",)),
    ],
)
@pytest.mark.parametrize("is_implicit", [True, False])
def test_who_breaks_tls_is_shown_no_credentials(rules: HostRules, *, is_implicit: bool) -> None:
    name = "10.0.0.5:5000"
    given = Credentials("config.json", "sailor", "correct horse", is_implicit=is_implicit)
    store = CredentialStore(provider=OneRegistry("tests", name, given))
    script = _no_tls(locked(_answers(Answer(200, b"well"))))
    with FaultyRegistry(script) as proxy:
        with _through(proxy, rules, credentials=store) as client, pytest.raises(AuthError) as caught:
            _ask(client, name)
        assert all("authorization" not in asked.headers for asked in proxy.asked)
        assert f"not sent over plain http; say --insecure-registry={name}" in str(caught.value)
        asked_for = HostRules(insecure_registries=(name,))
        with _through(proxy, asked_for, credentials=store) as client:
            assert _ask(client, name) == b"well"
        assert proxy.asked[-1].headers["authorization"] == BASIC


def test_a_token_service_is_asked_in_tls_where_it_speaks_it(tls: tuple[ssl.SSLContext, Path]) -> None:
    given = Credentials("config.json", "sailor", "correct horse")
    with FaultyRegistry(_answers(Answer(200, b'{"token": "t"}')), tls=tls[0], both=True) as service:

        def script(asked: Asked) -> Answer:
            if asked.headers.get("authorization") == "Bearer t":
                return Answer(200, b"well")
            realm = f'Bearer realm="http://{service.host}/token",service="s"'
            return Answer(401, headers={"WWW-Authenticate": realm})

        with FaultyRegistry(script) as registry:
            store = CredentialStore(provider=OneRegistry("tests", registry.host, given))
            with Client(rules=HostRules(system_ca_file=tls[1]), credentials=store) as client:
                assert _ask(client, registry.host) == b"well"
        (asked,) = service.asked
        assert asked.is_tls
        assert asked.headers["authorization"] == BASIC


def test_a_plain_registry_that_comes_back_as_tls(tls: tuple[ssl.SSLContext, Path]) -> None:
    """Nothing is settled by a host that did not answer."""
    with FaultyRegistry(lambda asked: Answer(200, b"well")) as gone:
        host = gone.host
    rules = HostRules(insecure_registries=(host,), system_ca_file=tls[1])
    with Client(rules=rules, policy=FAST, sleep=lambda wait_s: None) as client:
        with pytest.raises(RegistryError, match="refuses the connection"):
            _ask(client, host)
        with FaultyRegistry(lambda asked: Answer(200, b"well"), tls=tls[0]) as back:
            client.rules = HostRules(insecure_registries=(back.host,), system_ca_file=tls[1])
            assert _ask(client, back.host) == b"well"


@pytest.mark.parametrize(
    ("https", "http", "used"),
    [
        (200, 200, "https"),
        (401, 401, "https"),
        (503, 401, "https"),
        (404, 401, "http"),
        (404, 200, "http"),
        (404, 301, "https"),
        (404, 404, "https"),
    ],
)
def test_a_front_door_at_443_is_no_registry(https: int, http: int, used: str) -> None:
    """What an ingress answers there for names that it does not know; ggcr's ping goes on to http, too."""
    from knarr.registry.http.failures import Tls
    from knarr.registry.http.hosts import Endpoint
    from knarr.registry.http.schemes import Probe, Schemes

    class Scripted(Probe):
        def __init__(self) -> None:
            """It needs no connection."""

        def tls(self, endpoint: Endpoint) -> Tls | None:
            return Tls.SPOKEN

        def status(self, endpoint: Endpoint) -> int:
            return https if endpoint.base_url.startswith("https:") else http

    endpoint = HostRules(insecure_push=True).push_endpoint("registry.corp")
    assert Schemes().find(endpoint, Scripted()) == used
    with_port = HostRules(insecure_push=True).push_endpoint("registry.corp:5000")
    assert Schemes().find(with_port, Scripted()) == "https"


def test_a_port_80_that_only_leads_to_https_is_not_spoken_to() -> None:
    """https fails in passing; what answers at 80 must not make us stay there."""
    tries: list[str] = []

    def script(asked: Asked) -> Answer:
        tries.append(asked.method)
        if asked.method == "CONNECT":
            return Answer(502)
        return Answer(301, headers={"Location": asked.path.replace("http://", "https://", 1)})

    rules = HostRules(insecure_registries=("registry.corp",))
    with FaultyRegistry(script) as proxy, _through(proxy, rules) as client:
        with pytest.raises(RegistryError, match="leads to https, which does not answer"):
            _ask(client, "registry.corp")
    assert tries.count("CONNECT") > 1  # https is tried anew each time


def test_a_public_registry_without_checks_is_not_left_for_port_80() -> None:
    def script(asked: Asked) -> Answer:
        return Answer(502) if asked.method == "CONNECT" else Answer(404)

    with FaultyRegistry(script) as proxy, _through(proxy, HostRules(skip_verify=True)) as client:
        with pytest.raises(RegistryError, match="GET https://registry"):
            _ask(client, "registry.example.com")
        assert {asked.path for asked in proxy.asked if asked.method != "CONNECT"} == {
            "http://registry.example.com/v2/"
        }


def test_the_name_of_the_program_decides(tmp_path: Path) -> None:
    """As a container starts it: `/kaniko/executor`."""
    memory = MemoryRegistry()

    def script(asked: Asked) -> Answer:
        if asked.method == "CONNECT":
            return Answer(502)
        path = asked.path.removeprefix("http://registry.local")
        return Answer(200) if path == "/v2/" else memory(Asked(asked.method, path, asked.headers, asked.body))

    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    flags = ("-d=registry.local/app:1", "--isolation=none")
    with FaultyRegistry(script) as proxy:
        proxies = {"http_proxy": f"http://{proxy.host}", "https_proxy": f"http://{proxy.host}"}
        for name, status in (("executor", 0), ("knarr", 5)):
            program = tmp_path / name
            program.write_text("from knarr.cli.main import main\nmain()\n")
            verb = [] if name == "executor" else ["build"]
            done = subprocess.run(
                [sys.executable, program, *verb, f"--context={context}", *flags],
                env={**os.environ, **proxies, "PYTHONPATH": str(EXECUTOR), "KNARR_DIR": str(tmp_path)},
                capture_output=True,
                text=True,
            )
            assert done.returncode == status, done.stderr
            assert ("--insecure-registry=registry.local" in done.stderr) is (status == 0)
            assert done.stderr.count("speaks plain http") == (1 if status == 0 else 0)
