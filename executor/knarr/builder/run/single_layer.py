"""The layers of a build as one (`--single-snapshot`)."""

from knarr.builder.roots.stage_root import StageRoot
from knarr.builder.run.tools import Tools
from knarr.images.image import Image
from knarr.images.squash import Squash
from knarr.layers.tar.read import read_members


def as_single_layer(image: Image, kept: int, tools: Tools) -> Image:
    """The image with one layer in place of all but the lowest `kept`."""
    own = image.layers[kept:]
    if len(own) < 2:
        return image
    below = StageRoot(tools.work_dir / "squash", tools.blobs, tools.backend, image.layers[:kept])
    squash = Squash(below.spool, below.tree)
    for layer in own:
        with tools.blobs.open(layer) as stream:
            squash.add(read_members(stream), layer)
    return image.with_merged(kept, tools.blobs.write_layer(squash.items()))
