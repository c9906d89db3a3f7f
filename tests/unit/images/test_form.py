"""Media types of each format."""

import pytest

from knarr.errors import UsageError
from knarr.images.form import ImageForm, ImageFormat
from knarr.oci import media_types as m

DOCKER = ImageForm(ImageFormat.DOCKER)
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.mark.parametrize(
    ("media_type", "oci", "docker"),
    [
        (m.OCI_LAYER_GZIP, m.OCI_LAYER_GZIP, m.DOCKER_LAYER_GZIP),
        (m.DOCKER_LAYER_GZIP, m.OCI_LAYER_GZIP, m.DOCKER_LAYER_GZIP),
        (m.OCI_LAYER, m.OCI_LAYER, m.DOCKER_LAYER),
        (FOREIGN, m.OCI_LAYER_GZIP, m.DOCKER_LAYER_GZIP),
        ("application/x", "application/x", None),
        (m.OCI_LAYER_ZSTD, m.OCI_LAYER_ZSTD, None),
        (m.DOCKER_LAYER_ZSTD, m.OCI_LAYER_ZSTD, None),
    ],
)
def test_layers(media_type: str, oci: str, docker: str | None) -> None:
    assert ImageForm().layer_type(media_type) == oci
    if docker is not None:
        assert DOCKER.layer_type(media_type) == docker
        return
    with pytest.raises(UsageError, match="not Docker's"):
        DOCKER.layer_type(media_type)


def test_manifest_and_config() -> None:
    assert (ImageForm().manifest_type, ImageForm().config_type) == (m.OCI_MANIFEST, m.OCI_CONFIG)
    assert (DOCKER.manifest_type, DOCKER.config_type) == (m.DOCKER_MANIFEST, m.DOCKER_CONFIG)
