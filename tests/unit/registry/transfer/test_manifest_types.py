"""Manifests under media types that are not their own: as registries, proxies and copying tools serve them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from knarr.errors import CorruptError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.transfer.resolve import ResolvedImage, resolve
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry_images import SmallImage

AMD64 = Platform("linux", "amd64")
IMAGE = SmallImage.of(b"only layer")
DATA = IMAGE.manifest.to_bytes()
IMAGES = (media_types.OCI_MANIFEST, media_types.DOCKER_MANIFEST)
INDEXES = (media_types.OCI_INDEX, media_types.DOCKER_INDEX)


def _resolved(top: bytes, headers: Mapping[str, str], *, below: bytes = DATA) -> ResolvedImage:
    """What is read where a tag stands for `top`; `headers` go with every manifest."""
    blobs = {**IMAGE.blobs, Digest.of(below): below}

    def script(asked: Asked) -> Answer:
        if asked.path.endswith("/manifests/1"):
            return Answer(200, top, headers)
        name = asked.path.rpartition("/")[2]
        return Answer(200, blobs[Digest.parse(name)], headers if "/manifests/" in asked.path else {})

    with FaultyRegistry(script) as registry, Client(sleep=lambda wait_s: None) as client:
        return resolve(client, Reference.parse(f"{registry.host}/team/app:1"), AMD64)


@pytest.mark.parametrize("content_type", [*IMAGES, f"{IMAGES[1]}; charset=utf-8", "text/html", None])
@pytest.mark.parametrize("own", [*IMAGES, None])
def test_an_image(content_type: str | None, own: str | None) -> None:
    data = json.dumps({**json.loads(DATA), "mediaType": own}).encode()
    found = _resolved(data, {"Content-Type": content_type} if content_type else {})
    assert found.manifest.layers == IMAGE.manifest.layers
    assert found.descriptor.digest == Digest.of(data)
    assert found.manifest_bytes == data


@pytest.mark.parametrize("said", [*IMAGES])
@pytest.mark.parametrize("own", [*INDEXES, None])
def test_an_image_in_an_index(said: str, own: str | None) -> None:
    entry: dict[str, Any] = {**IMAGE.descriptor.to_json(), "mediaType": said, "annotations": None}
    entry["platform"] = {"os": "linux", "architecture": "amd64", "variant": None, "os.features": None}
    index = json.dumps({"schemaVersion": 2, "mediaType": own, "manifests": [entry], "layers": None}).encode()
    found = _resolved(index, {})
    assert (found.descriptor.digest, found.top.digest) == (IMAGE.descriptor.digest, Digest.of(index))


@pytest.mark.parametrize("content_type", INDEXES)
def test_an_image_that_is_called_an_index_is_refused(content_type: str) -> None:
    with pytest.raises(CorruptError, match="the registry says"):
        _resolved(DATA, {"Content-Type": content_type})


def test_a_digest_decides_whatever_the_types_say() -> None:
    with pytest.raises(CorruptError, match="came with other content"):
        _resolved(DATA, {"Docker-Content-Digest": str(Digest.of(b"other"))})


def test_an_image_without_layers() -> None:
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": None, "history": None}).encode()
    descriptor = {"mediaType": media_types.OCI_CONFIG, "digest": str(Digest.of(config)), "size": len(config)}
    top = {"schemaVersion": 2, "mediaType": IMAGES[0], "config": descriptor, "layers": None}
    found = _resolved(json.dumps(top).encode(), {}, below=config)
    assert found.manifest.layers == ()
    assert found.config == ImageConfig({"os": "linux", "architecture": "amd64"})
