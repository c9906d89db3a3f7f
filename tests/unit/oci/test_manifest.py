import json
from typing import Any

import pytest

from knarr.errors import CorruptError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor, Index, Manifest, parse_manifest
from knarr.oci.platform import Platform

CONFIG = Descriptor(media_types.OCI_CONFIG, Digest.of(b"config"), 6)
LAYER = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(b"layer"), 5)
IMAGE = Manifest(media_types.OCI_MANIFEST, CONFIG, (LAYER, LAYER), {"b": "2", "a": "1"})
ARM = Descriptor(
    media_types.OCI_MANIFEST, Digest.of(b"arm"), 3, {"note": "x"}, Platform("linux", "arm", "v7", "1.2")
)
INDEX = Index(media_types.OCI_INDEX, (ARM,))


def test_round_trip() -> None:
    assert parse_manifest(IMAGE.to_bytes()) == IMAGE
    assert parse_manifest(INDEX.to_bytes()) == INDEX
    assert IMAGE.to_bytes() == parse_manifest(IMAGE.to_bytes()).to_bytes()


def test_bytes_are_compact_and_in_order() -> None:
    manifest = Manifest(media_types.OCI_MANIFEST, CONFIG, (LAYER,))
    assert manifest.to_bytes().decode() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"config":{{"mediaType":"{media_types.OCI_CONFIG}","digest":"{CONFIG.digest}","size":6}},'
        f'"layers":[{{"mediaType":"{media_types.OCI_LAYER_GZIP}","digest":"{LAYER.digest}","size":5}}]}}'
    )


def test_descriptors_can_be_keys() -> None:
    assert len({LAYER, Descriptor(LAYER.media_type, LAYER.digest, LAYER.size_bytes), CONFIG}) == 2


def _document(**changes: Any) -> bytes:
    document = {**json.loads(IMAGE.to_bytes()), **changes}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def test_media_type_may_come_from_the_registry() -> None:
    data = _document(mediaType=None)
    assert parse_manifest(data).media_type == media_types.OCI_MANIFEST
    docker = parse_manifest(data, f"{media_types.DOCKER_MANIFEST}; charset=utf-8")
    assert docker.media_type == media_types.DOCKER_MANIFEST
    assert parse_manifest(data, "application/json").media_type == media_types.OCI_MANIFEST


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (_document(manifests=[]), None),
        (_document(schemaVersion=1), None),
        (_document(schemaVersion="2"), None),
        (_document(mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"), None),
        (_document(mediaType=7), None),
        (_document(mediaType=["a"]), None),
        (_document(mediaType={"a": 1}), None),
        (_document(), media_types.DOCKER_MANIFEST),
        (_document(), media_types.OCI_INDEX),
        (_document(layers=None), None),
        (_document(layers={}), None),
        (_document(layers=[LAYER.to_json()] * 10_001), None),
        (_document(config=None), None),
        (_document(config={**CONFIG.to_json(), "size": -1}), None),
        (_document(config={**CONFIG.to_json(), "size": True}), None),
        (_document(config={**CONFIG.to_json(), "size": "6"}), None),
        (_document(config={**CONFIG.to_json(), "digest": "sha256:../../etc"}), None),
        (_document(config={**CONFIG.to_json(), "mediaType": None}), None),
        (_document(layers=["x"]), None),
        (_document(mediaType=media_types.OCI_INDEX, layers=None, config=None), None),
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b" " * (4 * 1024 * 1024 + 1), None),
    ],
)
def test_what_is_refused(data: bytes, content_type: str | None) -> None:
    with pytest.raises(CorruptError):
        parse_manifest(data, content_type)
