"""Manifests with their configs as registries give them, checked against their digests."""

from dataclasses import dataclass
from typing import Protocol

from knarr.errors import CorruptError, RegistryError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest, parse_manifest
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.http.hosts import Endpoint
from knarr.registry.http.message import Reply, Request, pull_scope
from knarr.registry.transfer.blob_download import BlobDownload, BlobSink
from knarr.registry.transfer.failover import first_of

_ACCEPT = ", ".join(
    (
        media_types.OCI_INDEX,
        media_types.OCI_MANIFEST,
        media_types.DOCKER_INDEX,
        media_types.DOCKER_MANIFEST,
    )
)
_ANY_ANSWER = frozenset(range(200, 600))
_HEAD_TRIES = 2


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index with its bytes, checked against the digest."""

    descriptor: Descriptor
    data: bytes
    value: Manifest | Index


class Documents(BlobSink, Protocol):
    """Where manifests, indexes and configs are kept by digest."""

    def read(self, digest: Digest, *, limit_bytes: int) -> bytes:
        """A document that is here, checked against its digest."""
        ...


class ManifestReader:
    """Reads what one name, or a digest beside it, stands for.

    With a store, manifests and configs that are in it are not fetched again, those that are fetched are kept.
    A reference that has a digest is then found without the network.
    """

    def __init__(self, client: Client, reference: Reference, store: Documents | None = None) -> None:
        self._client = client
        self._reference = reference
        self._store = store

    def config(self, manifest: Manifest) -> tuple[bytes, ImageConfig]:
        """The config of an image. Raises RegistryError; CorruptError where it does not go with the layers."""
        descriptor = manifest.config
        data = self._kept(descriptor.digest)
        if data is None:
            if descriptor.size_bytes > MAX_MANIFEST_BYTES:
                raise CorruptError(
                    f"{self._reference}: the image config is larger than {MAX_MANIFEST_BYTES} bytes"
                )
            data = first_of(
                self._client, self._reference, lambda endpoint: self._fetch_config(endpoint, descriptor)
            )
            self._keep(data, descriptor)
        config = ImageConfig.parse(data)
        if len(config.diff_ids) != len(manifest.layers):
            raise CorruptError(
                f"{self._reference}: the manifest has {len(manifest.layers)} layers, "
                f"the config {len(config.diff_ids)} diff_ids",
                hint="it may not be a container image",
            )
        return data, config

    def _fetch_config(self, endpoint: Endpoint, descriptor: Descriptor) -> bytes:
        download = BlobDownload(self._client, endpoint, self._reference.repository, descriptor)
        data = b"".join(download.chunks())
        _check(data, descriptor.digest, "the image config")
        return data

    def read(self, reference: Reference, expected: Descriptor | None = None) -> Document:
        """A manifest or index; `expected` is how another document described it.

        Raises RegistryError, CorruptError.
        """
        data, content_type = self._manifest_bytes(reference)
        if expected is not None and len(data) != expected.size_bytes:
            raise CorruptError(
                f"manifest {expected.digest} has {len(data)} bytes where {expected.size_bytes} were promised"
            )
        value = parse_manifest(data, content_type, expected.media_type if expected is not None else None)
        digest = reference.digest or Digest.of(data)
        descriptor = Descriptor(value.media_type, digest, len(data))
        self._keep(data, descriptor)
        return Document(descriptor, data, value)

    def _manifest_bytes(self, reference: Reference) -> tuple[bytes, str | None]:
        if reference.digest is not None:
            data = self._kept(reference.digest)
            if data is not None:
                return data, None
        return first_of(self._client, reference, lambda endpoint: self._fetch_manifest(endpoint, reference))

    def _fetch_manifest(self, endpoint: Endpoint, reference: Reference) -> tuple[bytes, str | None]:
        if reference.digest is None and self._store is not None:
            # A HEAD does not count against the limits of registries that count pulls.
            digest = look_up_digest(self._client, endpoint, reference)
            data = self._kept(digest) if digest is not None else None
            if data is not None:
                return data, None
        reply = self._client.fetch(_manifest_request(endpoint, reference, "GET"))
        stated = _stated_digest(reply)
        if reference.digest is not None:
            _check(reply.body, reference.digest, "the manifest")
        elif stated is not None:
            _check(reply.body, stated, "the manifest")
        return reply.body, reply.headers.get("content-type")

    def _kept(self, digest: Digest) -> bytes | None:
        if self._store is None or not self._store.has(digest):
            return None
        return self._store.read(digest, limit_bytes=MAX_MANIFEST_BYTES)

    def _keep(self, data: bytes, descriptor: Descriptor) -> None:
        if self._store is not None and not self._store.has(descriptor.digest):
            with self._store.writer(descriptor) as writer:
                writer.write(data)


def look_up_digest(client: Client, endpoint: Endpoint, reference: Reference) -> Digest | None:
    """The digest that a name stands for now; None where the registry has no such image, or does not tell.

    Whatever else it does is no error: who needs the manifest hears more when it is read.
    """
    request = _manifest_request(endpoint, reference, "HEAD", _ANY_ANSWER, tries=_HEAD_TRIES)
    try:
        reply = client.fetch(request)
    except (RegistryError, CorruptError):
        return None
    return _stated_digest(reply) if reply.status == 200 else None


def _stated_digest(reply: Reply) -> Digest | None:
    """What the registry says the digest is; None where it says nothing that we can check."""
    try:
        return Digest.parse(reply.headers.get("docker-content-digest", ""))
    except CorruptError:
        return None


def _manifest_request(
    endpoint: Endpoint,
    reference: Reference,
    method: str,
    accepted: frozenset[int] = frozenset({200}),
    *,
    tries: int | None = None,
) -> Request:
    repository = endpoint.repository(reference.repository)
    return Request(
        method,
        endpoint,
        endpoint.url(repository, f"manifests/{reference.selector}"),
        f"read the manifest of {reference}",
        repository,
        (pull_scope(repository),),
        {"Accept": _ACCEPT},
        accepted=accepted,
        tries=tries,
    )


def _check(data: bytes, digest: Digest, what: str) -> None:
    actual = Digest.of(data, digest.algorithm)
    if actual != digest:
        raise CorruptError(f"{what} {digest} came with other content: {actual}")
