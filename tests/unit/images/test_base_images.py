"""The images that a build starts from."""

from pathlib import Path

import pytest

from knarr.errors import RegistryError
from knarr.images.base_images import BaseImages, image_of
from knarr.images.store import Store
from knarr.oci.image_config import ImageConfig
from knarr.oci.reference import Reference
from knarr.progress import BaseResolved
from support.image_registry import AMD64
from unit.images.conftest import Served


def test_a_name_is_looked_up_once(served: Served) -> None:
    bases = BaseImages(served.client, served.events)
    image = bases.get(served.name, AMD64)
    assert [layer.descriptor for layer in image.layers] == served.registry.layers
    assert [layer.diff_id for layer in image.layers] == served.registry.diff_ids
    assert {layer.origin for layer in image.layers} == {
        Reference.parse(f"{served.name}:latest").with_digest(served.registry.digest)
    }
    served.registry.forget()
    assert bases.get(served.name, AMD64) is image
    assert served.registry.asked == []
    assert len([event for event in served.events.events if isinstance(event, BaseResolved)]) == 1


def test_what_is_kept_is_not_fetched(served: Served, tmp_path: Path) -> None:
    store = Store.create(tmp_path, durable=False)
    BaseImages(served.client, served.events, store).get(served.name, AMD64)
    served.registry.forget()
    BaseImages(served.client, served.events, store).get(served.name, AMD64)
    assert served.registry.asked == ["HEAD latest"]
    by_digest = f"{served.name}@{served.registry.digest}"
    served.registry.forget()
    BaseImages(served.client, served.events, store).get(by_digest, AMD64)
    assert served.registry.asked == []


def test_no_such_image(served: Served) -> None:
    with pytest.raises(RegistryError, match="404"):
        BaseImages(served.client, served.events).get(f"{served.name}:gone", AMD64)


@pytest.mark.parametrize("known", [0, 2, 5])
def test_the_history_has_an_entry_for_each_layer(served: Served, known: int) -> None:
    config = ImageConfig.parse(served.registry.blobs[str(served.registry.manifest.config.digest)])
    config = config.with_property("history", [{"created_by": "x"}] * known)
    image = image_of(served.registry.manifest, config, origin=None)
    assert len(image.config.history) == 3
