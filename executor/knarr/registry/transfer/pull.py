"""Blobs of images from a registry into the store."""

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import BinaryIO, cast

from knarr.errors import CorruptError, RegistryError
from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.progress import Transferred
from knarr.registry.client import Client
from knarr.registry.http.failures import NotFoundError
from knarr.registry.http.hosts import Endpoint
from knarr.registry.http.message import Request, pull_scope
from knarr.registry.transfer.blob_download import BlobDownload, BlobReader, BlobSink
from knarr.registry.transfer.failover import first_of
from knarr.registry.transfer.watch import TransferWatch

DEFAULT_JOBS = 4


def open_blob(client: Client, reference: Reference, descriptor: Descriptor) -> BinaryIO:
    """A blob as a file that keeps nothing; CorruptError at its end where size or digest are wrong.

    The caller closes it. The first endpoint that gives its first bytes is the one that is read.
    """
    return cast(BinaryIO, BlobReader(blob_chunks(client, reference, descriptor), descriptor))


def blob_chunks(client: Client, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
    """A blob's bytes from the first endpoint that gives a first chunk; size checked, digest not."""

    def started(endpoint: Endpoint) -> Iterator[bytes]:
        chunks = BlobDownload(client, endpoint, reference.repository, descriptor).chunks()
        first = next(chunks, b"")
        return itertools.chain((first,) if first else (), chunks)

    return first_of(client, reference, started)


def fetch_blob(client: Client, reference: Reference, descriptor: Descriptor, store: BlobSink) -> None:
    """Bring a blob into the store where it is not there yet.

    Content that does not have its digest is asked for once more. Raises RegistryError, CorruptError.
    """
    if store.has(descriptor.digest):
        client.reporter.report(Transferred("exists", str(descriptor.digest), descriptor.size_bytes))
        return
    started = client.clock()
    try:
        first_of(client, reference, lambda endpoint: _copy(client, endpoint, reference, descriptor, store))
    except CorruptError:
        first_of(client, reference, lambda endpoint: _copy(client, endpoint, reference, descriptor, store))
    TransferWatch.pull(client, reference, descriptor).end("pulled", client.clock() - started)


def fetch_blobs(
    client: Client, reference: Reference, descriptors: Iterable[Descriptor], store: BlobSink, *, jobs: int
) -> None:
    """Bring blobs of one repository into the store, several at once; the first error ends it."""
    distinct = {descriptor.digest: descriptor for descriptor in descriptors}
    with ThreadPoolExecutor(jobs, thread_name_prefix="pull") as pool:
        futures = [
            pool.submit(fetch_blob, client, reference, descriptor, store) for descriptor in distinct.values()
        ]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        pool.shutdown(cancel_futures=True)
        for future in done:
            if not future.cancelled():
                future.result()


def _copy(
    client: Client, endpoint: Endpoint, reference: Reference, descriptor: Descriptor, store: BlobSink
) -> None:
    download = BlobDownload(client, endpoint, reference.repository, descriptor)
    watch = TransferWatch.pull(client, reference, descriptor)
    with store.writer(descriptor) as writer:
        for chunk in download.chunks():
            writer.write(chunk)
            watch.add(len(chunk))


def check_blob(client: Client, reference: Reference, descriptor: Descriptor) -> None:
    """Raise CorruptError for a blob that the registry itself says is gone, or of another size.

    No other answer counts: not every registry knows HEAD for blobs.
    """
    endpoint = client.rules.pull_endpoints(reference.registry)[-1]
    repository = endpoint.repository(reference.repository)
    request = Request(
        "HEAD",
        endpoint,
        endpoint.url(repository, f"blobs/{descriptor.digest}"),
        f"look for blob {descriptor.digest} in {reference.name}",
        repository,
        (pull_scope(repository),),
        tries=1,
    )
    try:
        stated = client.fetch(request).headers.get("content-length", "")
    except NotFoundError as error:
        raise CorruptError(f"blob {descriptor.digest} is gone") from error
    except RegistryError:
        return
    if stated.isdigit() and int(stated) not in (0, descriptor.size_bytes):
        raise CorruptError(
            f"blob {descriptor.digest} has {stated} bytes where {descriptor.size_bytes} were promised"
        )
