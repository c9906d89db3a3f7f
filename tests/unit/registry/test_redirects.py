"""Blobs that a registry sends us on for. The oracle is what the object store sees."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.errors import CorruptError, RegistryError
from knarr.oci.digest import Digest
from knarr.oci.platform import Platform
from knarr.registry.http.locations import resolve_location
from knarr.registry.transfer.pull import open_blob
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry import make_certificates, server_context
from support.registry_flags import IMAGE, USER, Opened, Served, opened

AMD64 = Platform.normalised("linux", "amd64")
BASIC = 'Basic realm="x"'


class Store:
    """Has the image's blobs at `/bucket/DIGEST`."""

    def __init__(self) -> None:
        self.damaged = False

    def __call__(self, asked: Asked) -> Answer:
        data = IMAGE.blobs[Digest.parse(asked.path.removeprefix("/bucket/").partition("?")[0])]
        return Answer(200, data[::-1] if self.damaged else data)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    ca, certificate, key = make_certificates(tmp_path_factory.mktemp("tls"))
    return server_context(certificate, key), ca


@pytest.fixture
def store() -> Iterator[FaultyRegistry]:
    """The object store, on plain http."""
    with FaultyRegistry(Store()) as started:
        yield started


@pytest.fixture
def registry(tls: tuple[ssl.SSLContext, Path], store: FaultyRegistry) -> Iterator[FaultyRegistry]:
    """A locked registry in TLS that has its blobs in the store, and one tag there, too."""
    served = Served(IMAGE)

    def script(asked: Asked) -> Answer:
        if "authorization" not in asked.headers:
            return Answer(401, headers={"WWW-Authenticate": BASIC})
        if asked.path.endswith("/manifests/moved"):
            return Answer(307, headers={"Location": f"http://{store.host}/bucket/moved"})
        if "/blobs/sha256:" in asked.path and asked.method == "GET":
            digest = asked.path.rpartition("/")[2]
            return Answer(307, headers={"Location": f"http://{store.host}/bucket/{digest}?X-Signature=s"})
        return served(asked)

    with FaultyRegistry(script, tls=tls[0]) as started:
        yield started


def _opened(registry: FaultyRegistry, tls: tuple[ssl.SSLContext, Path], *flags: str) -> Opened:
    # A certificate that is named makes a registry on loopback one that is never spoken to in plain http.
    return opened(f"--registry-certificate={registry.host}={tls[1]}", *flags, environment=USER)


def test_it_is_refused_with_the_way_out(
    registry: FaultyRegistry, store: FaultyRegistry, tls: tuple[ssl.SSLContext, Path]
) -> None:
    found = _opened(registry, tls)
    with found.client, pytest.raises(RegistryError, match="from https to plain http") as caught:
        found.pull(f"{registry.host}/a:1")
    assert f"--insecure-redirect={store.host}" in str(caught.value)
    assert "X-Signature" not in str(caught.value)
    assert not store.asked


@pytest.mark.parametrize("form", ["{host}", "http://{host}/"])
def test_the_flag_allows_it_for_blobs_of_its_host(
    registry: FaultyRegistry, store: FaultyRegistry, tls: tuple[ssl.SSLContext, Path], form: str
) -> None:
    flag = "--insecure-redirect=" + form.format(host=store.host)
    found = _opened(registry, tls, flag)
    with found.client:
        image = found.pull(f"{registry.host}/a:1")
        with open_blob(found.client, image.reference, image.manifest.layers[0]) as file:
            assert file.read() == b"layer one"
        assert store.asked
        assert all("authorization" not in asked.headers for asked in store.asked)
        count = len(store.asked)
        with pytest.raises(RegistryError, match="from https to plain http") as caught:
            found.pull(f"{registry.host}/a:moved")  # no digest protects what a tag stands for
        assert "--insecure-redirect" not in str(caught.value)
        assert len(store.asked) == count
    elsewhere = _opened(registry, tls, "--insecure-redirect=minio.corp:9000")
    with elsewhere.client, pytest.raises(RegistryError, match="from https to plain http"):
        elsewhere.pull(f"{registry.host}/a:1")


def test_the_digest_decides(
    registry: FaultyRegistry, store: FaultyRegistry, tls: tuple[ssl.SSLContext, Path]
) -> None:
    assert isinstance(store.script, Store)
    store.script.damaged = True
    found = _opened(registry, tls, f"--insecure-redirect={store.host}")
    with found.client, pytest.raises(CorruptError):
        found.pull(f"{registry.host}/a:1")


@pytest.mark.parametrize("flag", ["--insecure-pull", "--insecure-registry={host}"])
def test_an_insecure_registry_may_send_anywhere(
    registry: FaultyRegistry, store: FaultyRegistry, tls: tuple[ssl.SSLContext, Path], flag: str
) -> None:
    """Who allows plain http for the registry had it for the store before https was tried first."""
    found = _opened(registry, tls, flag.format(host=registry.host))
    with found.client:
        assert found.pull(f"{registry.host}/a:1").descriptor == IMAGE.descriptor
    assert all("authorization" not in asked.headers for asked in store.asked)


BASE = "https://registry.example.com/v2/a/blobs/sha256:0"


def _target(location: str, *allowed: str) -> str:
    return resolve_location(BASE, location, registry_url=BASE, is_allowed=lambda host: host in allowed)


def test_addresses_that_are_named_may_be_private() -> None:
    for location in ("https://10.1.2.3:9000/b", "http://10.1.2.3:9000/b"):
        assert _target(location, "10.1.2.3:9000") == location
        with pytest.raises(RegistryError) as caught:
            _target(location, "10.1.2.3")
        assert "--insecure-redirect=10.1.2.3:9000" in str(caught.value)


def test_a_store_at_another_port_of_the_registrys_host() -> None:
    with pytest.raises(RegistryError) as caught:
        _target("http://registry.example.com:9000/bucket")
    assert "--insecure-redirect=registry.example.com:9000" in str(caught.value)
    there = "http://registry.example.com:9000/bucket"
    assert _target(there, "registry.example.com:9000") == there
    # The registry itself, which does not know of the TLS proxy before it.
    assert _target("http://registry.example.com:5000/v2/a/b") == "https://registry.example.com/v2/a/b"
    assert _target("http://registry.example.com/bucket") == "https://registry.example.com/bucket"
