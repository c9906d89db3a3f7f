"""Uploads that go on in the background."""

from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType

from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.http.message import BlobSource
from knarr.registry.transfer.upload import BlobUpload
from knarr.registry.transfer.watch import TransferWatch

DEFAULT_JOBS = 4


class BlobUploader:
    """Brings blobs into one repository while its caller does other things.

    For one thread to submit and wait. Leaving `with` waits for all uploads. Leaving it by an exception drops
    those that have not begun, and waits for none: a registry that hangs must not hold up the failure.
    """

    def __init__(
        self, client: Client, destination: Reference, *, jobs: int = DEFAULT_JOBS, is_forced: bool = False
    ) -> None:
        self._client = client
        self._destination = destination
        self._is_forced = is_forced
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="push")
        self._futures: dict[Digest, Future[None]] = {}

    def submit(
        self, descriptor: Descriptor, source: BlobSource, *, mount_from: Reference | None = None
    ) -> None:
        """Begin an upload; a blob that was submitted before is not sent again.

        `mount_from` is an image that has the blob; it counts only where it is in the same registry.
        """
        if descriptor.digest in self._futures:
            return
        same_registry = mount_from is not None and mount_from.registry == self._destination.registry
        repository = mount_from.repository if mount_from is not None and same_registry else None
        self._futures[descriptor.digest] = self._pool.submit(self._upload, descriptor, source, repository)

    def wait(self) -> None:
        """Return when all that was submitted is there; the first error is raised, what waits is dropped."""
        done, _ = wait(self._futures.values(), return_when=FIRST_EXCEPTION)
        failed = [future for future in done if not future.cancelled() and future.exception() is not None]
        if failed:
            self.cancel()
            failed[0].result()

    def cancel(self) -> None:
        """Drop uploads that have not begun."""
        for future in self._futures.values():
            future.cancel()

    def __enter__(self) -> "BlobUploader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.cancel()
        self._pool.shutdown(wait=kind is None)

    def _upload(self, descriptor: Descriptor, source: BlobSource, mount_from: str | None) -> None:
        upload_blob(
            self._client,
            self._destination,
            descriptor,
            source,
            mount_from=mount_from,
            is_forced=self._is_forced,
        )


def upload_blob(
    client: Client,
    destination: Reference,
    descriptor: Descriptor,
    source: BlobSource,
    *,
    mount_from: str | None = None,
    is_forced: bool = False,
) -> None:
    """Bring one blob into a repository, in this thread.

    `mount_from` is another repository of the same registry that has it. With `is_forced` it is sent whatever
    the registry says it has. Raises RegistryError.
    """
    started = client.clock()
    endpoint = client.rules.push_endpoint(destination.registry)
    upload = BlobUpload(client, endpoint, endpoint.repository(destination.repository), descriptor)
    watch = TransferWatch.push(client, destination, descriptor)
    how = upload.run(watch.of_source(source), mount_from=mount_from, is_forced=is_forced)
    watch.end(how, client.clock() - started)
