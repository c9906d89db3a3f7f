"""The push at the end of a build, tried again as a whole."""

from pathlib import Path

import pytest

from knarr.errors import RegistryError
from knarr.images.blobs import Blobs
from knarr.images.image import FinishedImage, Image, Layer
from knarr.images.pusher import Pusher
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.reference import Reference
from knarr.progress import Pushing
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.retry import RetryPolicy
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry_images import Events, SmallImage

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


def test_uploads_that_failed_spoil_no_later_image() -> None:
    script = Failing(uploads=1)
    second = SmallImage.of(b"another layer")
    with (
        FaultyRegistry(script) as served,
        Client(policy=RetryPolicy(extra_pushes=1), sleep=no_wait) as client,
    ):
        name = Reference.parse(f"{served.host}/a:1")
        with Pusher(client, [name]) as pusher:
            pusher.put(IMAGE.finished(), [name])
            pusher.put(second.finished(), [name])
    assert script.tagged == ["1", "1"]
    uploads = [line for line in served.lines if line.startswith("PUT /v2/a/x")]
    assert len(uploads) - 1 in (2 * 2, 2 * 2 + 1)  # the other blob may be under way when the first fails


def test_a_layer_that_was_begun_is_not_sent_again() -> None:
    script = Failing()
    with FaultyRegistry(script) as served, Client(sleep=no_wait) as client:
        names = [Reference.parse(f"{served.host}/{name}") for name in ("a:1", "a:2", "b:1")]
        with Pusher(client, names) as pusher:
            layer = IMAGE.manifest.layers[0]
            pusher.submit(Layer(layer, Digest.of(b"plain")), IMAGE.source(layer))
            pusher.put(IMAGE.finished(), names)
    assert script.tagged == ["1", "2", "1"]
    assert len([line for line in served.lines if line.startswith("PUT /v2/a/x")]) == 2 * 2
    *_, first, second, third = (line for line in served.lines if line.startswith("PUT"))
    assert [first, second, third] == [
        f"PUT /v2/{path}" for path in ("a/manifests/1", "a/manifests/2", "b/manifests/1")
    ]


def test_an_index_is_given_its_names() -> None:
    script = Failing(tags=1)
    events = Events()
    with FaultyRegistry(script) as served:
        with Client(policy=RetryPolicy(extra_pushes=1), sleep=no_wait, reporter=events) as client:
            names = [Reference.parse(f"{served.host}/a:{tag}") for tag in ("1", "2")]
            with Pusher(client, names) as pusher:
                pusher.put_index(b"{}", media_types.OCI_INDEX, names)
    assert script.tagged == ["1", "2"]
    said = [event.reference for event in events.events if isinstance(event, Pushing)]
    assert said == [str(name) for name in names]


def no_wait(wait_s: float) -> None:
    pass
