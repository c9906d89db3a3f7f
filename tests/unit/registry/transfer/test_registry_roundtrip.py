"""Push to a real registry, pull from it."""

import dataclasses
import os
from pathlib import Path

import pytest

from knarr.errors import AuthError, RegistryError
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.manifest import Descriptor, Index
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Pushed, Transferred
from knarr.registry.auth.credentials import Credentials, CredentialStore
from knarr.registry.auth.given_credentials import OneRegistry
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.retry import RetryPolicy
from knarr.registry.transfer.layer_stream import LayerStream
from knarr.registry.transfer.pull import fetch_blob, fetch_blobs, open_blob
from knarr.registry.transfer.push import check_push, put_manifest
from knarr.registry.transfer.resolve import resolve
from support.registry import Registry, make_certificates
from support.registry_images import Events, SmallImage, describe, push_image

pytestmark = pytest.mark.registry

AMD64 = Platform.parse("linux/amd64")


def _store(tmp_path: Path, name: str = "store") -> Store:
    return Store.create(tmp_path / name, durable=False)


def _locked_client(registry: Registry, password: str = "correct horse") -> Client:
    assert registry.ca_file is not None
    credentials = Credentials("tests", "sailor", password)
    return Client(
        rules=HostRules(ca_files={registry.host: registry.ca_file}),
        credentials=CredentialStore(provider=OneRegistry("tests", registry.host, credentials)),
    )


def test_what_is_pushed_is_pulled(registry: Registry, tmp_path: Path) -> None:
    image = SmallImage.of(os.urandom(3_000_000), b"second", b"")
    reference = Reference.parse(f"{registry.host}/round/trip:1")
    events = Events()
    with Client(reporter=events) as client:
        digest = push_image(client, reference, image)
        store = _store(tmp_path)
        resolved = resolve(client, reference, AMD64, store=store)
        fetch_blobs(client, resolved.reference, resolved.manifest.layers, store, jobs=4)
    assert digest == image.descriptor.digest == resolved.descriptor.digest
    assert resolved.manifest == image.manifest
    assert resolved.config_bytes == image.config_bytes
    assert str(resolved.reference) == f"{registry.host}/round/trip@{digest}"
    for layer, data in image.blobs.items():
        assert store.path(layer).read_bytes() == data
    hows = [event.how for event in events.events if isinstance(event, Transferred)]
    assert hows.count("pushed") == 4
    assert hows.count("pulled") == 3
    assert [event for event in events.events if isinstance(event, Pushed)] == [
        Pushed(str(reference), str(digest))
    ]


def test_second_push_sends_no_blob(registry: Registry) -> None:
    image = SmallImage.of(b"once")
    reference = Reference.parse(f"{registry.host}/second/push")
    events = Events()
    with Client(reporter=events) as client:
        push_image(client, reference, image)
        events.events.clear()
        push_image(client, dataclasses.replace(reference, tag="again"), image)
    assert {event.how for event in events.events if isinstance(event, Transferred)} == {"exists"}
    assert (
        registry.get("second/push/manifests/again", {"Accept": media_types.OCI_MANIFEST})
        == image.manifest.to_bytes()
    )


def test_base_layers_are_mounted(registry: Registry) -> None:
    base = SmallImage.of(b"base layer")
    base_reference = Reference.parse(f"{registry.host}/mount/base:1")
    image = SmallImage.of(b"base layer", b"new layer")
    events = Events()
    with Client(reporter=events) as client:
        push_image(client, base_reference, base)
        events.events.clear()
        mounts = {layer.digest: base_reference for layer in base.manifest.layers}
        reference = Reference.parse(f"{registry.host}/mount/image:1")
        push_image(client, reference, image, mount_from=mounts)
    by_digest = {event.digest: event.how for event in events.events if isinstance(event, Transferred)}
    assert by_digest[str(base.manifest.layers[0].digest)] == "mounted"
    assert by_digest[str(image.manifest.layers[1].digest)] == "pushed"


def test_mount_of_a_blob_that_is_not_there_is_an_upload(registry: Registry) -> None:
    image = SmallImage.of(b"never in the source of the mount")
    source = Reference.parse(f"{registry.host}/mount/nothing:1")
    with Client() as client:
        reference = Reference.parse(f"{registry.host}/mount/refused:1")
        mounts = {layer.digest: source for layer in image.manifest.layers}
        push_image(client, reference, image, mount_from=mounts)
    assert (
        registry.get("mount/refused/manifests/1", {"Accept": media_types.OCI_MANIFEST})
        == image.manifest.to_bytes()
    )


def test_index_gives_the_image_of_the_platform(registry: Registry, tmp_path: Path) -> None:
    v6 = SmallImage.of(b"v6", architecture="arm", variant="v6")
    v7 = SmallImage.of(b"v7", architecture="arm", variant="v7")
    amd = SmallImage.of(b"amd64")
    reference = Reference.parse(f"{registry.host}/multi/platform:1")
    unknown = Platform("unknown", "unknown")
    with Client() as client:
        entries: list[Descriptor] = []
        for image, platform in ((v6, "linux/arm/v6"), (v7, "linux/arm/v7"), (amd, "linux/amd64")):
            by_digest = dataclasses.replace(reference, tag=None, digest=image.descriptor.digest)
            push_image(client, by_digest, image)
            entries.append(dataclasses.replace(image.descriptor, platform=Platform.parse(platform)))
        entries.insert(0, dataclasses.replace(entries[0], platform=unknown))
        index = Index(media_types.OCI_INDEX, tuple(entries))
        put_manifest(client, reference, index.to_bytes(), index.media_type)

        found = resolve(client, reference, Platform.parse("linux/arm/v7"))
        assert found.manifest == v7.manifest
        assert found.top.digest == describe(index.to_bytes(), index.media_type).digest
        assert resolve(client, reference, AMD64, store=_store(tmp_path)).manifest == amd.manifest
        with pytest.raises(RegistryError, match="has no image for linux/s390x") as caught:
            resolve(client, reference, Platform.parse("linux/s390x"))
    assert caught.value.hint == "it has linux/amd64, linux/arm/v6, linux/arm/v7"


def test_name_with_digest_needs_no_network(registry: Registry, tmp_path: Path) -> None:
    image = SmallImage.of(b"kept")
    reference = Reference.parse(f"{registry.host}/kept/image:1")
    store = _store(tmp_path)
    with Client() as client:
        push_image(client, reference, image)
        first = resolve(client, reference, AMD64, store=store)
    # Nothing listens there; the digest says it all.
    elsewhere = dataclasses.replace(first.reference, registry="127.0.0.1:1")
    with Client() as client:
        assert resolve(client, elsewhere, AMD64, store=store).manifest == image.manifest


def test_tls_with_password(locked_registry: Registry, tmp_path: Path) -> None:
    image = SmallImage.of(os.urandom(700_000))
    reference = Reference.parse(f"{locked_registry.host}/tls/image:1")
    with _locked_client(locked_registry) as client:
        check_push(client, reference)
        push_image(client, reference, image)
        store = _store(tmp_path)
        resolved = resolve(client, reference, AMD64)
        fetch_blobs(client, resolved.reference, resolved.manifest.layers, store, jobs=4)
        with open_blob(client, reference, image.manifest.config) as config:
            assert config.read() == image.config_bytes
    assert store.has(image.manifest.layers[0].digest)
    assert not list((locked_registry.root / "data").rglob("_uploads/*/data"))


def test_wrong_password_names_its_source(locked_registry: Registry) -> None:
    reference = Reference.parse(f"{locked_registry.host}/tls/refused:1")
    with (
        _locked_client(locked_registry, "wrong secret") as client,
        pytest.raises(AuthError, match="answered 401") as caught,
    ):
        check_push(client, reference)
    assert "of user sailor from tests" in str(caught.value)
    assert "wrong secret" not in str(caught.value)


def test_no_password_says_where_it_looked(locked_registry: Registry) -> None:
    assert locked_registry.ca_file is not None
    rules = HostRules(ca_files={locked_registry.host: locked_registry.ca_file})
    store = CredentialStore.parse(b'{"auths": {}}', "/home/sailor/.docker/config.json")
    reference = Reference.parse(f"{locked_registry.host}/tls/refused:1")
    with Client(rules=rules, credentials=store) as client, pytest.raises(AuthError) as caught:
        check_push(client, reference)
    assert "/home/sailor/.docker/config.json" in str(caught.value)


def test_unknown_ca_is_refused_unless_told(locked_registry: Registry) -> None:
    reference = Reference.parse(f"{locked_registry.host}/tls/image:1")
    rules = HostRules(client_certificates={}, skip_verify_registries=(locked_registry.host,))
    with Client(rules=rules) as client, pytest.raises(AuthError, match="answered 401"):
        resolve(client, reference, AMD64)
    trusting = HostRules(system_ca_file=locked_registry.ca_file, mirrors={}, ca_files={})
    with Client(rules=trusting) as client, pytest.raises(AuthError, match="answered 401"):
        resolve(client, reference, AMD64)
    with Client() as client, pytest.raises(RegistryError, match="is not trusted"):
        resolve(client, reference, AMD64)


def test_certificate_of_another_ca(locked_registry: Registry, tmp_path: Path) -> None:
    other, _, _ = make_certificates(tmp_path)
    rules = HostRules(ca_files={locked_registry.host: other})
    with Client(rules=rules) as client, pytest.raises(RegistryError, match="is not trusted") as caught:
        resolve(client, Reference.parse(f"{locked_registry.host}/tls/image:1"), AMD64)
    assert f"--registry-certificate={locked_registry.host}=FILE" in str(caught.value)


def test_added_certificates_are_trusted_beside_others(locked_registry: Registry, tmp_path: Path) -> None:
    other, _, _ = make_certificates(tmp_path)
    assert locked_registry.ca_file is not None
    broken = "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----"
    added = (broken, locked_registry.ca_file.read_text())
    rules = HostRules(ca_files={locked_registry.host: other}, added_certificates=added)
    with Client(rules=rules) as client, pytest.raises(AuthError, match="answered 401"):
        resolve(client, Reference.parse(f"{locked_registry.host}/tls/image:1"), AMD64)


def test_https_to_a_plain_registry_is_explained(registry: Registry, tmp_path: Path) -> None:
    ca, _, _ = make_certificates(tmp_path)
    rules = HostRules(ca_files={registry.host: ca})
    with (
        Client(rules=rules) as client,
        pytest.raises(RegistryError, match="does not answer with TLS") as caught,
    ):
        resolve(client, Reference.parse(f"{registry.host}/any"), AMD64)
    assert "--insecure-registry" in str(caught.value)


def test_nothing_listens() -> None:
    policy = RetryPolicy(first_wait_s=0.001)
    with (
        Client(policy=policy) as client,
        pytest.raises(RegistryError, match="refuses the connection") as caught,
    ):
        check_push(client, Reference.parse("127.0.0.1:1/nothing/here"))
    assert "is the registry running?" in str(caught.value)


def test_missing_image(registry: Registry) -> None:
    with Client() as client, pytest.raises(RegistryError, match="answered 404: MANIFEST_UNKNOWN") as caught:
        resolve(client, Reference.parse(f"{registry.host}/not/there:1"), AMD64)
    assert "can't read the manifest of" in str(caught.value)


def test_layer_is_read_while_it_arrives(registry: Registry, tmp_path: Path) -> None:
    data = os.urandom(20_000_001)
    image = SmallImage.of(data)
    reference = Reference.parse(f"{registry.host}/stream/layer:1")
    layer = image.manifest.layers[0]
    with Client() as client:
        push_image(client, reference, image)
        resolved = resolve(client, reference, AMD64)
        store = _store(tmp_path)
        with LayerStream(client, resolved.reference, layer, store) as stream:
            assert b"".join(iter(lambda: stream.read(100_003), b"")) == data
        assert store.path(layer.digest).read_bytes() == data

        early = _store(tmp_path, "early")
        with LayerStream(client, resolved.reference, layer, early) as stream:
            assert stream.read(10) == data[:10]
        assert early.path(layer.digest).read_bytes() == data

        given_up = _store(tmp_path, "given up")
        stream = LayerStream(client, resolved.reference, layer, given_up)
        with pytest.raises(ValueError, match="sail"), stream:
            raise ValueError(f"no more sail after {stream.read(10)!r}")
        assert not given_up.has(layer.digest)
        assert not list((given_up.root / "ingest").iterdir())


def test_mirror_with_prefix_is_asked_first(registry: Registry, tmp_path: Path) -> None:
    image = SmallImage.of(b"mirrored")
    events = Events()
    rules = HostRules(mirrors={"index.docker.io": ("127.0.0.1:1", f"{registry.host}/cache/hub")})
    policy = RetryPolicy(first_wait_s=0.001)
    with Client(rules=rules, reporter=events, policy=policy) as client:
        there = Reference.parse(f"{registry.host}/cache/hub/library/thing:1")
        push_image(client, there, image)
        resolved = resolve(client, Reference.parse("thing:1"), AMD64)
        assert str(resolved.reference) == f"docker.io/library/thing@{image.descriptor.digest}"
        store = _store(tmp_path)
        fetch_blob(client, resolved.reference, image.manifest.layers[0], store)
    assert store.has(image.manifest.layers[0].digest)
    assert any("mirror 127.0.0.1:1" in str(event) for event in events.events)
