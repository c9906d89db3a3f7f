"""Images from one repository to another, blob by blob, under their digests."""

from functools import partial

from knarr.oci.manifest import Descriptor
from knarr.oci.reference import Reference
from knarr.registry.attempts import attempt
from knarr.registry.client import Client
from knarr.registry.members import Member
from knarr.registry.message import BlobSource
from knarr.registry.pull import open_blob
from knarr.registry.push import push_image


def copy_image(client: Client, member: Member, destination: Reference) -> None:
    """Bring an image into the destination's repository, without a tag.

    Within a registry blobs are mounted, else sent as they are read; nothing is kept. Where the image is there
    by its origin, nothing is asked. Raises RegistryError, CorruptError.
    """
    if member.reference.name == destination.name:
        return
    blobs = (*member.manifest.layers, member.manifest.config)

    def source(descriptor: Descriptor) -> BlobSource:
        return partial(open_blob, client, member.reference, descriptor)

    attempt(
        client,
        client.policy.extra_pushes,
        f"push {destination}",
        lambda _: push_image(
            client,
            destination.with_digest(member.descriptor.digest),
            member.manifest,
            source,
            mount_from={blob.digest: member.reference for blob in blobs},
            manifest_bytes=member.data,
        ),
    )
