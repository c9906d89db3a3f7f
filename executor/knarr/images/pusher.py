"""Pushes images: blobs, then manifests, tags at the end."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from knarr.images.image import FinishedImage, Layer
from knarr.oci.reference import Reference
from knarr.progress import Pushing
from knarr.registry.client import Client
from knarr.registry.http.message import BlobSource
from knarr.registry.transfer.attempts import attempt
from knarr.registry.transfer.push import BlobUnknownError, check_push, put_manifest
from knarr.registry.transfer.uploader import BlobUploader


class Pusher:
    """Brings images into the repositories of its destinations. For one thread to use.

    Leaving `with` by an exception gives waiting uploads up. A push that fails is tried again as a whole as
    often as the client's policy has it (`extra_pushes`), beyond the repetition of single requests.
    """

    def __init__(self, client: Client, destinations: Iterable[Reference]) -> None:
        self._client = client
        self._repositories = tuple(dict.fromkeys(map(_repository_of, destinations)))
        self._exits = ExitStack()
        self._uploaders: dict[Reference, BlobUploader] = {}

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
        for repository in self._repositories:
            if self._client.rules.check_push:
                check_push(self._client, repository)
            else:
                endpoint = self._client.rules.push_endpoint(repository.registry)
                self._client.find_credentials(endpoint.registry, endpoint.repository(repository.repository))

    def submit(self, layer: Layer, source: BlobSource) -> None:
        """Begin to upload a layer of an image to be, to every repository; `put` sends it no more."""
        for repository in self._repositories:
            self._uploader(repository).submit(
                layer.descriptor, source, mount_from=self._mountable(layer.origin, repository)
            )

    def put(self, image: FinishedImage, names: Sequence[Reference]) -> None:
        """Upload what is missing of an image, then give it its names, in their order.

        A name is a tag, or the digest of the image; a repository alone gets the image by digest, no tag.
        Raises RegistryError; a tag that was not reached by then is as it was.
        """
        repositories = tuple(dict.fromkeys(map(_repository_of, names)))
        for repository in repositories:
            self._submit_all(image, repository, self._uploader(repository))
        for repository in repositories:
            self._attempt(repository, partial(self._upload, repository, image))
        media_type = image.manifest.media_type
        for given in names:
            is_whole = given.tag is not None or given.digest is not None
            name = given if is_whole else given.with_digest(image.descriptor.digest)
            self._announce(name, always=not is_whole)
            self._attempt(name, lambda _, name=name: self._put_manifest(name, image, media_type))  # type: ignore[misc]

    def put_index(self, data: bytes, media_type: str, names: Iterable[Reference]) -> None:
        """Give an index its names, in their order; its images are in the repositories already.

        Raises RegistryError; a tag that was not reached by then is as it was.
        """
        for name in names:
            self._announce(name)
            self._attempt(name, lambda _, name=name: put_manifest(self._client, name, data, media_type))  # type: ignore[misc]

    def _uploader(self, repository: Reference) -> BlobUploader:
        if repository not in self._uploaders:
            uploader = self._exits.enter_context(BlobUploader(self._client, repository))
            self._uploaders[repository] = uploader
        return self._uploaders[repository]

    def _announce(self, name: Reference, *, always: bool = False) -> None:
        if always or name.tag is not None:
            self._client.reporter.report(Pushing(str(name)))

    def _attempt(self, destination: Reference, act: Callable[[int], object]) -> None:
        attempt(self._client, self._client.policy.extra_pushes, f"push {destination}", act)

    def _upload(self, repository: Reference, image: FinishedImage, number: int) -> None:
        """Wait for the uploads of a repository; after a failure they are begun anew."""
        if number == 0:
            uploader = self._uploaders.pop(repository)
            uploader.wait()
            self._uploaders[repository] = uploader  # one that has failed is used no more
        else:
            self._send(repository, image)

    def _put_manifest(self, name: Reference, image: FinishedImage, media_type: str) -> None:
        """Where the registry lacks blobs that it said it has, ask it again; then send all of them."""
        for is_forced in (False, True):
            try:
                put_manifest(self._client, name, image.manifest_bytes, media_type)
            except BlobUnknownError:
                self._send(_repository_of(name), image, is_forced=is_forced)
            else:
                return
        put_manifest(self._client, name, image.manifest_bytes, media_type)

    def _send(self, repository: Reference, image: FinishedImage, *, is_forced: bool = False) -> None:
        with BlobUploader(self._client, repository, is_forced=is_forced) as uploader:
            self._submit_all(image, repository, uploader)
            uploader.wait()

    def _submit_all(self, image: FinishedImage, repository: Reference, uploader: BlobUploader) -> None:
        for blob in image.blobs:
            mount_from = self._mountable(image.origins.get(blob.digest), repository)
            uploader.submit(blob, partial(image.open, blob), mount_from=mount_from)

    def _mountable(self, origin: Reference | None, repository: Reference) -> Reference | None:
        """The repository of the same registry that has a blob: that of its origin, or of a mirror of it."""
        if origin is None:
            return None
        for endpoint in self._client.rules.pull_endpoints(origin.registry):
            if endpoint.registry == repository.registry:
                return Reference(endpoint.registry, endpoint.repository(origin.repository))
        return None


def _repository_of(name: Reference) -> Reference:
    return Reference(name.registry, name.repository)
