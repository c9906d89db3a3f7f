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
        (_document(), media_types.OCI_INDEX),
        (_document(), media_types.DOCKER_INDEX),
        (_document(mediaType=media_types.DOCKER_INDEX), None),
        (INDEX.to_bytes(), media_types.DOCKER_MANIFEST),
        (_document(fsLayers=[{}]), None),
        (b'{"schemaVersion":2,"size":NaN}', None),
        (b"\xef\xbb\xbf" + IMAGE.to_bytes(), None),
        (_document(layers={}), None),
        (_document(layers=[LAYER.to_json()] * 10_001), None),
        (_document(config=None), None),
        (_document(config={**CONFIG.to_json(), "size": -1}), None),
        (_document(config={**CONFIG.to_json(), "size": True}), None),
        (_document(config={**CONFIG.to_json(), "size": "6"}), None),
        (_document(config={**CONFIG.to_json(), "digest": "sha256:../../etc"}), None),
        (_document(config={**CONFIG.to_json(), "mediaType": 7}), None),
        (_document(layers=[{**LAYER.to_json(), "mediaType": None}]), None),
        (_document(layers=[None]), None),
        (_document(layers=["x"]), None),
        (b"{}", None),
        (b'{"SchemaVersion":1}', None),
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


IMAGE_TYPES = (media_types.OCI_MANIFEST, media_types.DOCKER_MANIFEST)
INDEX_TYPES = (media_types.OCI_INDEX, media_types.DOCKER_INDEX)
UNKNOWN = (None, "", "application/json", "text/plain; charset=utf-8", "application/octet-stream")


@pytest.mark.parametrize("own", [*IMAGE_TYPES, None, ""])
@pytest.mark.parametrize(
    "said",
    [*IMAGE_TYPES, *(f"{each}; charset=utf-8" for each in IMAGE_TYPES), IMAGE_TYPES[0].upper(), *UNKNOWN],
)
def test_either_kind_of_image_under_either_name(own: str | None, said: str | None) -> None:
    """What containerd's validateMediaType passes, and more: the bytes are those of the digest in any case."""
    document = {**json.loads(IMAGE.to_bytes()), "mediaType": own}
    found = parse_manifest(json.dumps(document).encode(), said)
    assert isinstance(found, Manifest)
    assert (found.config, found.layers) == (CONFIG, (LAYER, LAYER))
    known = (said or "").partition(";")[0].lower()
    assert found.media_type == (own or (known if known in IMAGE_TYPES else media_types.OCI_MANIFEST))


@pytest.mark.parametrize("own", [*INDEX_TYPES, None])
@pytest.mark.parametrize("said", [*INDEX_TYPES, *UNKNOWN])
def test_either_kind_of_index_under_either_name(own: str | None, said: str | None) -> None:
    document = {**json.loads(INDEX.to_bytes()), "mediaType": own, "layers": None, "config": None}
    found = parse_manifest(json.dumps(document).encode(), said)
    assert isinstance(found, Index)
    assert found.manifests == (ARM,)


def test_an_index_above_decides_where_nobody_else_does() -> None:
    data = _document(mediaType=None)
    assert parse_manifest(data, "text/plain", media_types.DOCKER_MANIFEST).media_type == IMAGE_TYPES[1]
    assert parse_manifest(data, IMAGE_TYPES[0], IMAGE_TYPES[1]).media_type == IMAGE_TYPES[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": None},
        {"layers": []},
        {"layers": None, "manifests": None},
        {"annotations": None, "layers": None},
        {"config": {**CONFIG.to_json(), "annotations": None, "platform": None, "urls": None}, "layers": None},
        {"config": {**CONFIG.to_json(), "mediaType": None}, "layers": None},
        {"schemaVersion": None, "layers": None, "subject": None},
    ],
)
def test_null_is_nothing(changes: dict[str, Any]) -> None:
    document = json.dumps({**json.loads(IMAGE.to_bytes()), **changes}).encode()
    found = parse_manifest(document)
    assert isinstance(found, Manifest)
    assert (found.config, found.layers) == (CONFIG, ())


def test_names_count_in_any_case() -> None:
    text = IMAGE.to_bytes().decode()
    for name in ("schemaVersion", "mediaType", "config", "layers", "digest", "size", "annotations"):
        text = text.replace(f'"{name}":', f'"{name.upper()}":')
    assert parse_manifest(text.encode()) == IMAGE


def test_text_that_is_none_has_a_mark_in_its_place() -> None:
    data = IMAGE.to_bytes().replace(b'"a":"1"', b'"a":"\xff\\ud800"')
    found = parse_manifest(data)
    assert found.annotations["a"] == "\ufffd\ufffd"
    assert parse_manifest(found.to_bytes()) == found


def test_an_index_of_nothing() -> None:
    for manifests in ("[]", "null"):
        data = f'{{"schemaVersion":2,"mediaType":"{media_types.OCI_INDEX}","manifests":{manifests}}}'.encode()
        assert parse_manifest(data) == Index(media_types.OCI_INDEX, ())
