"""Layers that are packed anew, where an image's form wants another compression."""

import dataclasses

from knarr.images.blobs import Blobs
from knarr.images.form import ImageForm
from knarr.images.image import Image, Layer
from knarr.layers.compression import MEDIA_TYPE_OF_COMPRESSION, new_compressor
from knarr.oci.manifest import Descriptor

_CHUNK_BYTES = 1024 * 1024


def packed(image: Image, form: ImageForm, blobs: Blobs) -> Image:
    """The image with every layer in the form's compression, where that is forced. Raises CorruptError."""
    if not form.is_forced:
        return image
    return dataclasses.replace(image, layers=tuple(_packed(layer, form, blobs) for layer in image.layers))


def _packed(layer: Layer, form: ImageForm, blobs: Blobs) -> Layer:
    if form.is_packed(layer.descriptor.media_type):
        return layer
    compressor = new_compressor(form.compression)

    with blobs.open(layer) as plain, blobs.store.writer() as writer:
        while chunk := plain.read(_CHUNK_BYTES):
            writer.write(compressor.compress(chunk))
        writer.write(compressor.flush())
    media_type = MEDIA_TYPE_OF_COMPRESSION[form.compression.compression]
    return Layer(Descriptor(media_type, writer.digest, writer.size_bytes), layer.diff_id)
