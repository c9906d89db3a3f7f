"""Saved images as they are read for a push."""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from knarr.errors import CorruptError, KnarrError, RegistryError, UsageError
from knarr.images.image import FinishedImage
from knarr.images.pusher import Pusher
from knarr.images.saved.image import read_saved_image
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.http.retry import RetryPolicy
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.saved_images import (
    LAYERS,
    docker_members,
    image_config,
    kaniko_members,
    write_archive,
    write_oci_layout,
)


def _contents(image: FinishedImage) -> list[bytes]:
    result = []
    for descriptor in image.manifest.layers:
        with image.open(descriptor) as file:
            result.append(file.read())
    return result


def test_layers_of_an_old_docker_save_stay_as_they_are(tmp_path: Path) -> None:
    image = read_saved_image(write_archive(tmp_path / "a.tar", docker_members()))
    assert image.manifest.media_type == media_types.OCI_MANIFEST
    assert image.manifest.config.media_type == media_types.OCI_CONFIG
    assert [each.media_type for each in image.manifest.layers] == [media_types.OCI_LAYER] * 2
    assert _contents(image) == list(LAYERS)
    with image.open(image.manifest.config) as file:
        assert file.read() == image_config()


def test_tarball_of_kaniko_is_a_docker_image(tmp_path: Path) -> None:
    image = read_saved_image(write_archive(tmp_path / "a.tar", kaniko_members()))
    assert image.manifest.media_type == media_types.DOCKER_MANIFEST
    assert image.manifest.config.media_type == media_types.DOCKER_CONFIG
    assert [each.media_type for each in image.manifest.layers] == [media_types.DOCKER_LAYER_GZIP] * 2
    assert [gzip.decompress(data) for data in _contents(image)] == list(LAYERS)


def test_layer_may_be_a_link_to_the_same_one(tmp_path: Path) -> None:
    twice = (LAYERS[0], LAYERS[0])
    members = docker_members(twice)
    members[f"{1:064x}/layer.tar"] = f"../{0:064x}/layer.tar"
    assert _contents(read_saved_image(write_archive(tmp_path / "a.tar", members))) == list(twice)


def test_layout_keeps_the_bytes_of_its_manifest(tmp_path: Path) -> None:
    layout = write_oci_layout(tmp_path / "layout")
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    assert str(Digest.of(read_saved_image(layout).manifest_bytes)) == digest


def test_tarball_of_a_layout(tmp_path: Path) -> None:
    layout = write_oci_layout(tmp_path / "layout")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(layout, ".")
    image = read_saved_image(tmp_path / "a.tar")
    assert image.manifest_bytes == read_saved_image(layout).manifest_bytes


def _layout_with(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(tmp: Path) -> Path:
        layout = write_oci_layout(tmp / "layout")
        change(layout)
        return layout

    return make


def _layers(layout: Path) -> list[Path]:
    return [path for path in (layout / "blobs/sha256").iterdir() if path.read_bytes()[:2] == b"\x1f\x8b"]


def _damage(layout: Path) -> None:
    layer = _layers(layout)[0]
    layer.write_bytes(layer.read_bytes()[:-1] + b"x")


def _remove(layout: Path) -> None:
    _layers(layout)[0].unlink()


def _archive_with(**changes: object) -> Callable[[Path], Path]:
    def make(tmp: Path) -> Path:
        members = {**docker_members(), **changes}
        return write_archive(tmp / "a.tar", {k: v for k, v in members.items() if isinstance(v, bytes | str)})

    return make


def _packed(tmp: Path) -> Path:
    (tmp / "a.tar.gz").write_bytes(gzip.compress(write_archive(tmp / "a.tar", docker_members()).read_bytes()))
    return tmp / "a.tar.gz"


def _cut(tmp: Path) -> Path:
    path = write_archive(tmp / "a.tar", docker_members())
    path.write_bytes(path.read_bytes()[:3000])
    return path


_FIRST_LAYER = f"{0:064x}/layer.tar"
_OTHER_CONFIG = {f"{hashlib.sha256(image_config()).hexdigest()}.json": b"{}"}


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda tmp: tmp / "absent", UsageError, "can't read"),
        (lambda tmp: tmp, UsageError, "is neither an OCI image layout nor a tarball"),
        (lambda tmp: write_archive(tmp / "a.tar", {"x": b""}), UsageError, "is neither"),
        (_packed, UsageError, "is compressed as a whole"),
        (_cut, CorruptError, "cut off"),
        (
            lambda tmp: write_oci_layout(tmp / "l", "amd64", "arm64"),
            UsageError,
            "index of images for several",
        ),
        (
            _layout_with(lambda it: (it / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')),
            UsageError,
            "holds 0 images",
        ),
        (_layout_with(_damage), CorruptError, "is damaged"),
        (_layout_with(_remove), CorruptError, "can't read blobs/sha256/"),
        (_archive_with(**{"manifest.json": b"[{},{}]"}), UsageError, "holds 2 images"),
        (_archive_with(**{"manifest.json": b"{"}), CorruptError, "is not a JSON list"),
        (_archive_with(**{"manifest.json": b'[{"Config": 1}]'}), CorruptError, "names no config"),
        (
            _archive_with(**{"manifest.json": b'[{"Config": "../../x"}]'}),
            CorruptError,
            "there is no '../../x'",
        ),
        (_archive_with(**{_FIRST_LAYER: LAYERS[1]}), CorruptError, "the config has sha256:"),
        (_archive_with(**{_FIRST_LAYER: gzip.compress(LAYERS[1])}), CorruptError, "unpacks to"),
        (_archive_with(**{_FIRST_LAYER: "../../etc/passwd"}), CorruptError, "there is no"),
        (_archive_with(**_OTHER_CONFIG), CorruptError, "has another digest"),
        (
            lambda tmp: write_archive(tmp / "a.tar", docker_members(Layers=[_FIRST_LAYER])),
            CorruptError,
            "has 1 layers, the config 2",
        ),
    ],
)
def test_what_is_not_one_whole_image(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[KnarrError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        read_saved_image(make(tmp_path))
    assert message in str(caught.value)


def test_names_in_a_directory_lead_nowhere_else(tmp_path: Path) -> None:
    layout = write_oci_layout(tmp_path / "layout")
    (layout / "manifest.json").write_text('[{"Config": "../secret", "Layers": []}]')
    (tmp_path / "secret").write_bytes(image_config(()))
    assert len(read_saved_image(layout).manifest.layers) == 2


class Failing:
    """A registry whose manifests are refused some times, and that has no blobs before they are sent."""

    def __init__(self, *, refusals: int) -> None:
        self.refusals = refusals
        self.tagged: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        if asked.method == "HEAD":
            return Answer(404)
        if "/manifests/" in path:
            self.refusals -= 1
            if self.refusals >= 0:
                return Answer(403)
            self.tagged.append(path)
            return Answer(201)
        return Answer(202, headers={"Location": "/v2/a/x"}) if asked.method == "POST" else Answer(201)


def _push(client: Client, image: FinishedImage, names: list[Reference]) -> None:
    with Pusher(client, names) as pusher:
        pusher.put(image, names)


@pytest.mark.parametrize(("refusals", "waits_s"), [(0, []), (2, [1, 2])])
def test_push_is_tried_again_as_a_whole(tmp_path: Path, refusals: int, waits_s: list[float]) -> None:
    image = read_saved_image(write_archive(tmp_path / "a.tar", docker_members()))
    script = Failing(refusals=refusals)
    waited: list[float] = []
    with FaultyRegistry(script) as served:
        with Client(policy=RetryPolicy(extra_pushes=2), sleep=waited.append) as client:
            names = [Reference.parse(f"{served.host}/a:{tag}") for tag in ("1", "2")]
            _push(client, image, names)
    assert waited == waits_s
    assert script.tagged == ["/v2/a/manifests/1", "/v2/a/manifests/2"]
    uploads = [line for line in served.lines if line.startswith("PUT /v2/a/x")]
    assert len(uploads) == 3  # a name that is refused costs no blob


def test_push_ends_after_the_last_try(tmp_path: Path) -> None:
    image = read_saved_image(write_archive(tmp_path / "a.tar", docker_members()))
    script = Failing(refusals=99)
    with FaultyRegistry(script) as served:
        with Client(policy=RetryPolicy(extra_pushes=1), sleep=lambda wait_s: None) as client:
            with pytest.raises(RegistryError, match="answered 403"):
                _push(client, image, [Reference.parse(f"{served.host}/a:1")])
    assert len([line for line in served.lines if line.startswith("PUT /v2/a/manifests/")]) == 2
    assert script.tagged == []
