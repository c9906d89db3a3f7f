"""The push at the end of a build, tried again as a whole."""

from pathlib import Path

import pytest

from knarr.errors import RegistryError
from knarr.images.blobs import Blobs
from knarr.images.image import FinishedImage, Image, Layer
from knarr.images.pusher import Pusher
from knarr.images.store import Store
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.retry import RetryPolicy
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry_images import SmallImage

IMAGE = SmallImage.of(b"layer")


class Failing:
    """A registry that refuses the first uploads, and the first tags."""

    def __init__(self, *, uploads: int = 0, tags: int = 0) -> None:
        self.uploads = uploads
        self.tags = tags
        self.tagged: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        if asked.method == "HEAD":
            return Answer(404)
        if "/manifests/" in path:
            self.tags -= 1
            if self.tags >= 0:
                return Answer(403)
            self.tagged.append(path.rpartition("/")[2])
            return Answer(201)
        if asked.method == "POST":
            return Answer(202, headers={"Location": "/v2/a/x"})
        self.uploads -= 1
        return Answer(403) if self.uploads >= 0 else Answer(201)


def _push(
    script: Failing, tmp_path: Path, *, extra: int, check: bool = True
) -> tuple[list[float], list[str]]:
    waited: list[float] = []
    store = Store.create(tmp_path / "store", durable=False)
    for data in IMAGE.blobs.values():
        store.add(data)
    layers = tuple(Layer(each, Digest.of(b"plain")) for each in IMAGE.manifest.layers)
    image = Image(ImageConfig.parse(IMAGE.config_bytes), layers)
    with FaultyRegistry(script) as served:
        policy, rules = RetryPolicy(extra_pushes=extra), HostRules(check_push=check)
        names = [Reference.parse(f"{served.host}/a:{tag}") for tag in ("1", "2")]
        with Client(policy=policy, rules=rules, sleep=waited.append) as client:
            blobs = Blobs(store, client)
            with Pusher(client, names) as pusher:
                pusher.check()
                pusher.put(FinishedImage.of(image, blobs.open_packed), names)
            blobs.close()
    return waited, served.lines


def test_uploads_are_begun_anew(tmp_path: Path) -> None:
    script = Failing(uploads=1)
    waited, _ = _push(script, tmp_path, extra=1, check=False)
    assert waited == [1]
    assert script.tagged == ["1", "2"]


def test_tags_are_set_again(tmp_path: Path) -> None:
    script = Failing(tags=2)
    waited, _ = _push(script, tmp_path, extra=2, check=False)
    assert waited == [1, 2]
    assert script.tagged == ["1", "2"]


@pytest.mark.parametrize("script", [Failing(uploads=99), Failing(tags=99)])
def test_last_refusal_ends_it(tmp_path: Path, script: Failing) -> None:
    with pytest.raises(RegistryError, match="answered 403"):
        _push(script, tmp_path, extra=1, check=False)
    assert script.tagged == []


@pytest.mark.parametrize(("check", "trials"), [(True, 1), (False, 0)])
def test_permission_is_tried_unless_said(tmp_path: Path, *, check: bool, trials: int) -> None:
    _, lines = _push(Failing(), tmp_path, extra=0, check=check)
    assert len([line for line in lines if line.startswith("DELETE ")]) == trials
