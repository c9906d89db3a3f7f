"""Each flag about registries, by what a registry sees of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from knarr.errors import RegistryError, UsageError
from knarr.oci.reference import Reference
from knarr.registry.transfer.push import check_push
from support.faulty_registry import Answer, FaultyRegistry
from support.registry import Registry, make_certificates, server_context
from support.registry_flags import IMAGE, USER, Served, opened


@dataclass(frozen=True)
class Certificates:
    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(*make_certificates(tmp_path_factory.mktemp("certificates")))


@pytest.fixture
def tls_registry(certificates: Certificates) -> Iterator[FaultyRegistry]:
    context = server_context(certificates.certificate, certificates.key)
    with FaultyRegistry(Served(IMAGE), tls=context) as served:
        yield served


def test_unknown_authority_is_explained(locked_registry: Registry, certificates: Certificates) -> None:
    flag = f"--registry-certificate={locked_registry.host}={certificates.ca}"
    with opened(flag, environment=USER).client as client:
        with pytest.raises(RegistryError, match="is not trusted") as caught:
            check_push(client, Reference.parse(f"{locked_registry.host}/a"))
    assert f"--registry-certificate={locked_registry.host}=FILE" in str(caught.value)


def test_own_authority_is_trusted_for_its_host(locked_registry: Registry) -> None:
    flag = f"--registry-certificate={locked_registry.host}={locked_registry.ca_file}"
    with opened(flag, environment=USER).client as client:
        check_push(client, Reference.parse(f"{locked_registry.host}/a"))
    elsewhere = f"--registry-certificate=elsewhere.example.com={locked_registry.ca_file}"
    rules = opened(elsewhere).client.rules
    assert rules.tls(locked_registry.host).ca_file is None
    assert rules.tls("elsewhere.example.com").ca_file == locked_registry.ca_file


@pytest.mark.parametrize(
    "form", ["--skip-tls-verify-registry={host}", "--skip-tls-verify-registry=https://{host}/"]
)
def test_certificate_of_one_registry_is_not_checked(tls_registry: FaultyRegistry, form: str) -> None:
    with opened(form.format(host=tls_registry.host)).client as client:
        check_push(client, Reference.parse(f"{tls_registry.host}/a"))
    assert tls_registry.lines[0] == "POST /v2/a/blobs/uploads/"
    rules = opened("--skip-tls-verify-registry=a.io").client.rules
    assert (rules.tls("a.io").verify, rules.tls("b.io").verify) == (False, True)


@pytest.mark.parametrize(
    ("flag", "pulls", "pushes"),
    [
        ("--skip-tls-verify", True, True),
        ("--skip-tls-verify-pull", True, False),
        ("--insecure=false", False, False),
    ],
)
def test_certificates_are_checked_unless_said(
    tls_registry: FaultyRegistry, certificates: Certificates, flag: str, *, pulls: bool, pushes: bool
) -> None:
    # The client certificate makes this host, which is on loopback, one that is spoken to in TLS.
    pair = f"--registry-client-cert={tls_registry.host}={certificates.certificate},{certificates.key}"
    name = f"{tls_registry.host}/team/app:1"
    for works, act in ((pulls, "pull"), (pushes, "push")):
        found = opened(flag, pair)
        with found.client:
            if works:
                getattr(found, act)(name)
            else:
                with pytest.raises(RegistryError, match="is not trusted"):
                    getattr(found, act)(name)


def test_client_certificate_is_shown(certificates: Certificates) -> None:
    context = server_context(certificates.certificate, certificates.key, clients=certificates.ca)
    with FaultyRegistry(Served(IMAGE), tls=context) as served:
        trust = f"--registry-certificate={served.host}={certificates.ca}"
        pair = f"--registry-client-cert={served.host}={certificates.certificate},{certificates.key}"
        with opened(trust, pair).client as client:
            check_push(client, Reference.parse(f"{served.host}/a"))
        with opened(trust).client as client, pytest.raises(RegistryError):
            check_push(client, Reference.parse(f"{served.host}/a"))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--registry-certificate=a.io={tmp}/absent",
            "--registry-certificate: can't read {tmp}/absent: No such file",
        ),
        ("--registry-certificate=a.io={tmp}/text", "--registry-certificate: {tmp}/text holds no certificate"),
        ("--registry-certificate=a.io={tmp}", "--registry-certificate: can't read {tmp}: Is a directory"),
        ("--registry-certificate={tmp}/text", "--registry-certificate takes key=value"),
        ("--registry-client-cert=a.io={tmp}/text", "--registry-client-cert takes HOST=CERTIFICATE,KEY"),
        (
            "--registry-client-cert=a.io={tmp}/text,{tmp}/absent",
            "--registry-client-cert: can't read {tmp}/absent",
        ),
        (
            "--registry-client-cert=a.io={tmp}/text,{tmp}/text",
            "--registry-client-cert: {tmp}/text and {tmp}/text",
        ),
        ("--registry-mirror=https://mirror.corp", "not a registry mirror: 'https://mirror.corp'"),
        ("--registry-map=docker.io", "--registry-map takes key=value"),
        ("--insecure-registry=a.io/team", "--insecure-registry takes HOST[:PORT]"),
        ("--push-retry=-1", "--push-retry takes a number from 0 to 100"),
        ("--push-retry=many", "--push-retry takes a number from 0 to 100"),
        ("--registry-answer-timeout=20", "--registry-answer-timeout: invalid duration '20'"),
        ("--registry-answer-timeout=-1s", "--registry-answer-timeout -1s is negative"),
        ("--image-download-retry=1.5", "--image-download-retry takes a number"),
    ],
)
def test_bad_value_names_flag_and_file(tmp_path: Path, flag: str, message: str) -> None:
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(UsageError) as caught:
        opened(flag.format(tmp=tmp_path))
    assert message.format(tmp=tmp_path) in str(caught.value)


def test_plain_http_where_it_is_said() -> None:
    rules = opened("--insecure-registry=a.io:5000", "--insecure-registry=http://b.io").client.rules
    assert rules.push_endpoint("a.io:5000").base_url == "http://a.io:5000"
    assert rules.pull_endpoints("b.io")[0].base_url == "http://b.io"
    assert rules.push_endpoint("c.io").base_url == "https://c.io"
    assert opened("--insecure").client.rules.push_endpoint("c.io").base_url == "http://c.io"
    assert opened("--insecure-pull").client.rules.pull_endpoints("c.io")[0].base_url == "http://c.io"


def test_plain_registry_behind_https_is_explained(registry: Registry, certificates: Certificates) -> None:
    with opened(f"--registry-certificate={registry.host}={certificates.ca}").client as client:
        with pytest.raises(RegistryError, match="does not answer with TLS") as caught:
            check_push(client, Reference.parse(f"{registry.host}/a"))
    assert f"--insecure-registry={registry.host}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--registry-mirror={host}/hub",), {}),
        ((), {"KANIKO_REGISTRY_MIRROR": "{host}/hub"}),
        (("--registry-map=docker.io={host}/hub",), {}),
        (("--registry-map=index.docker.io={host}/hub",), {}),
        (("--registry-map=quay.io=q.corp;docker.io={host}/hub",), {}),
        ((), {"KANIKO_REGISTRY_MAP": "quay.io=q.corp;docker.io={host}/hub"}),
    ],
)
def test_mirror_of_docker_hub_is_asked(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    with FaultyRegistry(Served(IMAGE)) as served:
        filled = {name: value.format(host=served.host) for name, value in environment.items()}
        found = opened(*(text.format(host=served.host) for text in arguments), environment=filled)
        with found.client:
            assert found.pull("busybox").descriptor == IMAGE.descriptor
    assert served.lines[0] == "GET /v2/hub/library/busybox/manifests/latest"


def test_mirrors_in_order_then_the_registry() -> None:
    found = opened(
        "--registry-mirror=c.corp",
        "--registry-map=docker.io=a.corp;docker.io=b.corp",
        environment={"KANIKO_REGISTRY_MIRROR": "d.corp", "KANIKO_REGISTRY_MAP": "index.docker.io=e.corp"},
    )
    names = [each.registry for each in found.client.rules.pull_endpoints("docker.io")]
    assert names == ["a.corp", "b.corp", "e.corp", "c.corp", "d.corp", "docker.io"]


@pytest.mark.parametrize(
    ("flag", "works"), [("--skip-default-registry-fallback", False), ("--insecure=false", True)]
)
def test_fallback_to_the_registry(flag: str, *, works: bool) -> None:
    with FaultyRegistry(lambda asked: Answer(404)) as mirror, FaultyRegistry(Served(IMAGE)) as origin:
        found = opened(flag, f"--registry-map={origin.host}={mirror.host}")
        with found.client:
            if works:
                assert found.pull(f"{origin.host}/a").descriptor == IMAGE.descriptor
                assert any(mirror.host in note for note in found.notes)
            else:
                with pytest.raises(RegistryError, match="answered 404"):
                    found.pull(f"{origin.host}/a")
        assert len(mirror.asked) >= 1
        assert bool(origin.asked) is works


def test_manifest_is_read_again() -> None:
    script = Served(IMAGE)
    script.manifest_answers = [Answer(404), Answer(403)]
    with FaultyRegistry(script) as served:
        found = opened("--image-download-retry=2")
        with found.client:
            assert found.pull(f"{served.host}/a").descriptor == IMAGE.descriptor
        assert found.waits_s == [1, 2]
        assert len([line for line in served.lines if "/manifests/" in line]) == 3
    script.manifest_answers = [Answer(404)] * 9
    with FaultyRegistry(script) as served:
        found = opened("--image-download-retry=2")
        with found.client, pytest.raises(RegistryError, match="answered 404"):
            found.pull(f"{served.host}/a")
        assert len(served.asked) == 3


def test_no_retry_unless_said() -> None:
    with FaultyRegistry(lambda asked: Answer(404)) as served:
        found = opened()
        with found.client, pytest.raises(RegistryError):
            found.pull(f"{served.host}/a")
        assert (len(served.asked), found.waits_s) == (1, [])


@pytest.mark.parametrize(("text", "seconds"), [("15m", 900), ("1h30m", 5400), ("90s", 90), ("", 1800)])
def test_an_answer_is_waited_for_as_long_as_is_said(text: str, seconds: float) -> None:
    with opened(f"--registry-answer-timeout={text}").client as client:
        assert client._timeouts.answer_s == seconds
