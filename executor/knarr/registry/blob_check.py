"""Whether a registry seems to have a blob, without reading it."""

from knarr.errors import CorruptError, RegistryError
from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.failures import NotFoundError
from knarr.registry.message import Request, pull_scope


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
