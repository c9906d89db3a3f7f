import json
import os
import re
from pathlib import Path

import pytest

from knarr.errors import CorruptError, KnarrError, RegistryError
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import Descriptor, Index, Manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.transfer.layer_stream import LayerStream
from knarr.registry.transfer.pull import fetch_blob, fetch_blobs, open_blob
from knarr.registry.transfer.resolve import ResolvedImage, resolve
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry_images import Events, SmallImage, describe

AMD64 = Platform.parse("linux/amd64")
MB = 1024 * 1024


class Serving:
    """Serves manifests by tag or digest, blobs by digest; `fault` may answer instead."""

    def __init__(self, *images: SmallImage) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes] = {}
        for image in images:
            self.add(image.manifest.to_bytes(), image.manifest.media_type, "1")
            self.blobs.update({str(digest): data for digest, data in image.blobs.items()})

    def add(self, data: bytes, media_type: str, tag: str | None = None) -> None:
        self.manifests[str(Digest.of(data))] = (data, media_type)
        if tag:
            self.manifests[tag] = (data, media_type)

    def fault(self, asked: Asked) -> Answer | None:
        return None

    def __call__(self, asked: Asked) -> Answer:
        faulty = self.fault(asked)
        if faulty is not None:
            return faulty
        kind, name = asked.path.split("/")[-2:]
        if kind == "manifests" and name in self.manifests:
            data, media_type = self.manifests[name]
            headers = {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(data))}
            return Answer(200, data, headers)
        if kind == "blobs" and name in self.blobs:
            return ranged(asked, self.blobs[name])
        return Answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')


def ranged(asked: Asked, data: bytes, cut_at: int | None = None) -> Answer:
    found = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
    if found is None:
        return Answer(200, data, cut_at=cut_at)
    start = int(found[1])
    headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
    return Answer(206, data[start:], headers, cut_at)


class Cutting(Serving):
    """Cuts the first blob answers after some bytes; what happens then is in `mode`."""

    def __init__(self, data: bytes, cuts: list[int], mode: str = "resume") -> None:
        super().__init__(SmallImage.of(data))
        self.data = data
        self.cuts = cuts
        self.mode = mode
        self.served = 0

    def fault(self, asked: Asked) -> Answer | None:
        if str(Digest.of(self.data)) not in asked.path:
            return None
        has_range = "range" in asked.headers
        if has_range and self.mode in ("400", "416"):
            return Answer(int(self.mode))
        if has_range and self.mode == "wrong range":
            return Answer(
                206, self.data[5:], {"Content-Range": f"bytes 5-{len(self.data) - 1}/{len(self.data)}"}
            )
        if has_range and self.mode == "no range":
            return Answer(206, self.data[5:])
        plain = Asked(asked.method, asked.path, {}, b"") if self.mode == "whole" else asked
        answer = ranged(plain, self.data, self.cuts.pop(0) if self.cuts else None)
        self.served += len(answer.body[: answer.cut_at])
        return answer


def _client(**options: object) -> Client:
    return Client(sleep=lambda wait_s: None, **options)  # type: ignore[arg-type]


def _layer(data: bytes) -> Descriptor:
    return describe(data, media_types.OCI_LAYER_GZIP)


def _reference(registry: FaultyRegistry, selector: str = ":1") -> Reference:
    return Reference.parse(f"{registry.host}/team/app{selector}")


@pytest.mark.parametrize("cut", [1, 1000, MB, 2 * MB + 7, 3 * MB - 1])
def test_cut_download_goes_on_where_it_was(tmp_path: Path, cut: int) -> None:
    data = os.urandom(3 * MB)
    script = Cutting(data, [cut])
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(script) as registry, _client() as client:
        fetch_blob(client, _reference(registry), _layer(data), store)
    assert store.path(Digest.of(data)).read_bytes() == data
    assert script.served == len(data)
    assert registry.asked[-1].headers["range"] == f"bytes={cut}-"


@pytest.mark.parametrize("mode", ["whole", "400", "416", "wrong range", "no range"])
def test_registry_without_ranges_is_read_again(tmp_path: Path, mode: str) -> None:
    data = os.urandom(3 * MB)
    script = Cutting(data, [2 * MB, MB], mode)
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(script) as registry, _client() as client:
        fetch_blob(client, _reference(registry), _layer(data), store)
    assert store.path(Digest.of(data)).read_bytes() == data


def test_many_cuts_with_progress_are_survived(tmp_path: Path) -> None:
    data = os.urandom(12 * MB)
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(Cutting(data, [MB] * 11)) as registry, _client() as client:
        fetch_blob(client, _reference(registry), _layer(data), store)
    assert store.path(Digest.of(data)).read_bytes() == data


def test_cuts_without_progress_end_it(tmp_path: Path) -> None:
    data = os.urandom(3 * MB)
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(Cutting(data, [10] * 100)) as registry, _client() as client:
        with pytest.raises(RegistryError, match="can't read blob sha256") as caught:
            fetch_blob(client, _reference(registry), _layer(data), store)
    assert "breaks again and again" in str(caught.value)
    assert len(registry.asked) == 5
    assert not store.has(Digest.of(data))
    assert not list((tmp_path / "ingest").iterdir())


class Lying(Serving):
    """Serves other bytes than asked for, so often."""

    def __init__(self, image: SmallImage, lie: bytes, *, times: int) -> None:
        super().__init__(image)
        self.lie = lie
        self.times = times

    def fault(self, asked: Asked) -> Answer | None:
        if "/blobs/" not in asked.path or self.times == 0:
            return None
        self.times -= 1
        return Answer(200, self.lie)


def _read_all(client: Client, reference: Reference, descriptor: Descriptor) -> bytes:
    with open_blob(client, reference, descriptor) as file:
        return file.read()


LIES = [b"0123456789", b"012345678", b"01234567890123456789", b""]


@pytest.mark.parametrize("lie", LIES)
def test_wrong_content_is_never_kept(tmp_path: Path, lie: bytes) -> None:
    data = b"9876543210"
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(Lying(SmallImage.of(data), lie, times=100)) as registry, _client() as client:
        with pytest.raises((CorruptError, RegistryError)):
            fetch_blob(client, _reference(registry), _layer(data), store)
        with pytest.raises((CorruptError, RegistryError)):
            _read_all(client, _reference(registry), _layer(data))
        image = ResolvedImage(
            _reference(registry),
            _layer(data),
            Manifest(media_types.OCI_MANIFEST, _layer(data), ()),
            b"",
            ImageConfig({}),
            b"",
            _layer(data),
        )
        stream = LayerStream(client, image.reference, _layer(data), store)
        with pytest.raises((CorruptError, RegistryError)):
            stream.read()
        with pytest.raises((CorruptError, RegistryError)):
            stream.close()
    assert not store.has(Digest.of(data))
    assert not list((tmp_path / "ingest").iterdir())


def test_wrong_content_is_asked_for_once_more(tmp_path: Path) -> None:
    data = b"9876543210"
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(Lying(SmallImage.of(data), LIES[0], times=1)) as registry, _client() as client:
        fetch_blob(client, _reference(registry), _layer(data), store)
    assert store.has(Digest.of(data))


def test_lying_mirror_is_passed_over(tmp_path: Path) -> None:
    image = SmallImage.of(b"9876543210")
    events = Events()
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(Lying(image, LIES[0], times=100)) as mirror, FaultyRegistry(Serving(image)) as origin:
        rules = HostRules(mirrors={origin.host: (mirror.host,)})
        with _client(rules=rules, reporter=events) as client:
            resolved = resolve(client, _reference(origin), AMD64, store=store)
            fetch_blobs(client, resolved.reference, resolved.manifest.layers, store, jobs=4)
    assert store.has(image.manifest.layers[0].digest)
    assert any(isinstance(event, Note) and mirror.host in event.text for event in events.events)


def test_first_failing_layer_ends_the_others(tmp_path: Path) -> None:
    image = SmallImage.of(b"one", b"two", b"three")
    script = Serving(image)
    del script.blobs[str(image.manifest.layers[1].digest)]
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(script) as registry, _client() as client:
        resolved = resolve(client, _reference(registry), AMD64)
        with pytest.raises(RegistryError, match="answered 404"):
            fetch_blobs(client, resolved.reference, resolved.manifest.layers, store, jobs=2)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 412, 501])
def test_registry_without_head(tmp_path: Path, status: int) -> None:
    image = SmallImage.of(b"layer")
    script = Serving(image)
    script.fault = lambda asked: Answer(status) if asked.method == "HEAD" else None  # type: ignore[method-assign]
    with FaultyRegistry(script) as registry, _client() as client:
        store = Store.create(tmp_path, durable=False)
        assert resolve(client, _reference(registry), AMD64, store=store).manifest == image.manifest


def test_known_tag_costs_one_head(tmp_path: Path) -> None:
    image = SmallImage.of(b"layer")
    store = Store.create(tmp_path, durable=False)
    with FaultyRegistry(Serving(image)) as registry, _client() as client:
        resolve(client, _reference(registry), AMD64, store=store)
        del registry.asked[:]
        resolve(client, _reference(registry), AMD64, store=store)
        assert registry.lines == ["HEAD /v2/team/app/manifests/1"]


def test_pinned_digest_is_checked() -> None:
    image = SmallImage.of(b"layer")
    script = Serving(image)
    pinned = Digest.of(b"something else")
    script.manifests[str(pinned)] = script.manifests["1"]
    with FaultyRegistry(script) as registry, _client() as client:
        with pytest.raises(CorruptError, match="came with other content"):
            resolve(client, _reference(registry, f"@{pinned}"), AMD64)


def test_digest_header_that_lies_is_found() -> None:
    image = SmallImage.of(b"layer")
    data = image.manifest.to_bytes()
    lie = Answer(200, data, {"Docker-Content-Digest": str(Digest.of(b"other"))})
    with FaultyRegistry(lambda asked: lie) as registry, _client() as client:
        with pytest.raises(CorruptError, match="came with other content"):
            resolve(client, _reference(registry), AMD64)


def test_config_must_fit_the_layers() -> None:
    with FaultyRegistry(Serving(SmallImage.of(b"a", b"b", diff_ids=1))) as registry, _client() as client:
        with pytest.raises(CorruptError, match="has 2 layers, the config 1 diff_ids"):
            resolve(client, _reference(registry), AMD64)


def test_single_image_of_another_platform_is_a_warning() -> None:
    events = Events()
    with FaultyRegistry(Serving(SmallImage.of(b"a", architecture="arm64"))) as registry:
        with _client(reporter=events) as client:
            resolve(client, _reference(registry), AMD64)
    assert any("is for linux/arm64, not linux/amd64" in str(event) for event in events.events)


def _nested(script: Serving, descriptor: Descriptor, depth: int) -> None:
    for _ in range(depth):
        data = Index(media_types.OCI_INDEX, (descriptor,)).to_bytes()
        script.add(data, media_types.OCI_INDEX, "nested")
        descriptor = describe(data, media_types.OCI_INDEX)


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_nested_indexes(depth: int) -> None:
    image = SmallImage.of(b"deep")
    script = Serving(image)
    _nested(script, image.descriptor, depth)
    with FaultyRegistry(script) as registry, _client() as client:
        assert resolve(client, _reference(registry, ":nested"), AMD64).manifest == image.manifest


def test_nesting_has_a_limit() -> None:
    image = SmallImage.of(b"too deep")
    script = Serving(image)
    _nested(script, image.descriptor, 9)
    with FaultyRegistry(script) as registry, _client() as client:
        with pytest.raises(CorruptError, match="nested more than 8 deep"):
            resolve(client, _reference(registry, ":nested"), AMD64)


def test_unmarked_image_of_another_platform_does_not_count() -> None:
    image = SmallImage.of(b"arm", architecture="arm64")
    script = Serving(image)
    _nested(script, image.descriptor, 1)
    with FaultyRegistry(script) as registry, _client() as client:
        with pytest.raises(RegistryError, match="has no image for linux/amd64"):
            resolve(client, _reference(registry, ":nested"), AMD64)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"schemaVersion": 1, "fsLayers": []}',
        b'{"schemaVersion": 2}',
        json.dumps({"schemaVersion": 2, "manifests": [], "layers": []}).encode(),
        json.dumps({"schemaVersion": 2, "mediaType": "application/x", "layers": []}).encode(),
        b" " * (5 * MB),
    ],
)
def test_what_is_no_manifest(document: bytes) -> None:
    with FaultyRegistry(lambda asked: Answer(200, document)) as registry, _client() as client:
        with pytest.raises(KnarrError):
            resolve(client, _reference(registry), AMD64)
