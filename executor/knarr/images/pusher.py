"""Pushes the image: layers in the background as they are made, tags at the end."""

import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import BinaryIO, Self

from knarr.images.blobs import Blobs
from knarr.images.image import FinishedImage, Layer
from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.progress import Pushing
from knarr.registry.attempts import attempt
from knarr.registry.client import Client
from knarr.registry.message import BlobSource
from knarr.registry.push import BlobUnknownError, check_push, push_image, put_manifest
from knarr.registry.uploader import BlobUploader


class Pusher:
    """Uploads to every destination's repository; leaving `with` by an exception gives waiting uploads up."""

    def __init__(self, client: Client, destinations: Sequence[Reference], blobs: Blobs) -> None:
        self._client = client
        self._destinations = destinations
        self._blobs = blobs
        self._exits = ExitStack()
        self._uploaders: dict[Reference, BlobUploader] = {}
        for destination in destinations:
            repository = Reference(destination.registry, destination.repository)
            if repository not in self._uploaders:
                self._uploaders[repository] = self._exits.enter_context(BlobUploader(client, repository))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, trace)

    def check(self) -> None:
        """Find out before the work whether the destinations take a push, unless the rules say not to.

        Their credentials are known afterwards in any case. Raises RegistryError.
        """
        for repository in self._uploaders:
            if self._client.rules.check_push:
                check_push(self._client, repository)
            else:
                endpoint = self._client.rules.push_endpoint(repository.registry)
                self._client.find_credentials(endpoint.registry, endpoint.repository(repository.repository))

    def submit(self, layer: Layer) -> None:
        """Begin to upload a layer of the image to be."""
        for repository, uploader in self._uploaders.items():
            uploader.submit(
                layer.descriptor,
                partial(self._blobs.open_packed, layer),
                mount_from=self._mountable(layer, repository),
            )

    def finish(self, image: FinishedImage) -> None:
        """Upload what is missing, then set the tags, in the order of the destinations.

        Raises RegistryError; a tag that was not reached by then is as it was.
        """
        config = image.document.config
        for layer in image.layers:
            self.submit(layer)
        for uploader in self._uploaders.values():
            uploader.submit(config, partial(_bytes, image.config))
        for repository in self._uploaders:
            self._attempt(repository, partial(self._upload, repository, image, config))
        for destination in self._destinations:
            self._client.reporter.report(Pushing(str(destination)))
            self._attempt(destination, partial(self._tag, destination, image))

    def _attempt(self, destination: Reference, act: Callable[[int], None]) -> None:
        attempt(self._client, self._client.policy.extra_pushes, f"push {destination}", act)

    def _upload(self, repository: Reference, image: FinishedImage, config: Descriptor, number: int) -> None:
        """Wait for the uploads of a repository; after a failure they are begun anew."""
        if number == 0:
            self._uploaders[repository].wait()
            return
        with BlobUploader(self._client, repository) as uploader:
            for descriptor in (*(layer.descriptor for layer in image.layers), config):
                uploader.submit(descriptor, self._source(image, descriptor))
            uploader.wait()

    def _tag(self, destination: Reference, image: FinishedImage, _number: int) -> None:
        media_type = image.descriptor.media_type
        try:
            put_manifest(self._client, destination, image.manifest, media_type)
        except BlobUnknownError:  # what the registry said it has was collected meanwhile: send all again
            push_image(self._client, destination, image.document, partial(self._source, image))

    def _source(self, image: FinishedImage, descriptor: Descriptor) -> BlobSource:
        for layer in image.layers:
            if layer.descriptor.digest == descriptor.digest:
                return partial(self._blobs.open_packed, layer)
        return partial(_bytes, image.config)

    def _mountable(self, layer: Layer, repository: Reference) -> Reference | None:
        """The repository of the same registry that has the layer: the base image's own, or its mirror's."""
        if layer.origin is None:
            return None
        for endpoint in self._client.rules.pull_endpoints(layer.origin.registry):
            if endpoint.registry == repository.registry:
                return Reference(endpoint.registry, endpoint.repository(layer.origin.repository))
        return None


def _bytes(data: bytes) -> BinaryIO:
    return io.BytesIO(data)
