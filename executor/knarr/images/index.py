"""Makes an image index of images that are in registries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from knarr.errors import UsageError
from knarr.images.image import FinishedImage
from knarr.images.pusher import Pusher
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor, Index
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.transfer.members import Member, resolve_members
from knarr.registry.transfer.pull import open_blob


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """What an index is made of, and where it goes; each destination has a tag."""

    images: tuple[Reference, ...]
    destinations: tuple[Reference, ...]
    annotations: Mapping[str, str]
    prefer_index: bool = True
    """Make an index of one name too, instead of giving what it stands for the names of the destinations."""
    entry_annotations: tuple[tuple[Platform | None, str, str], ...] = ()
    """Key and value in the entries of a platform, or of every image."""


def push_index(client: Client, request: IndexRequest) -> Descriptor:
    """Make the index, push it to every destination, with its images where they are elsewhere.

    Raises UsageError for images that do not go together, RegistryError, CorruptError; a tag that was not
    reached by then is as it was.
    """
    found = [resolve_members(client, image) for image in request.images]
    members = join(member for each in found for member in each.members)
    for member in members:
        client.reporter.report(Note(f"{member.descriptor.platform}: {member.reference}"))
    if len(found) == 1 and not request.prefer_index:
        data, media_type = found[0].top.data, found[0].top.descriptor.media_type
    else:
        index = _index(members, request)
        data, media_type = index.to_bytes(), index.media_type
    repositories = tuple(dict.fromkeys(Reference(to.registry, to.repository) for to in request.destinations))
    with Pusher(client, repositories) as pusher:
        pusher.check()
        for repository in repositories:
            for member in members:
                if member.reference.name != repository.name:
                    pusher.put(_image_of(member, client), [repository.with_digest(member.descriptor.digest)])
        pusher.put_index(data, media_type, request.destinations)
    return Descriptor(media_type, Digest.of(data), len(data))


def join(members: Iterable[Member]) -> tuple[Member, ...]:
    """The members in their order, each once. Raises UsageError where two are for the same platform."""
    by_digest: dict[Digest, Member] = {}
    by_platform: dict[Platform, Member] = {}
    for member in members:
        platform = member.descriptor.platform
        if member.is_image and platform is not None:
            other = by_platform.setdefault(platform, member)
            if other.descriptor.digest != member.descriptor.digest:
                raise UsageError(
                    f"two images for {platform}: {other.reference} and {member.reference}",
                    hint="an index has one image for a platform; a build for another one "
                    "runs on a machine of that platform, or says so with --custom-platform",
                )
        by_digest.setdefault(member.descriptor.digest, member)
    if not by_platform:
        raise UsageError("there is no image to make an index of", hint="name at least one")
    return tuple(by_digest.values())


def _index(members: Sequence[Member], request: IndexRequest) -> Index:
    """Docker's kind of index where every image is Docker's, which has no annotations; else OCI's."""
    types = {member.descriptor.media_type for member in members}
    is_docker = types == {media_types.DOCKER_MANIFEST} and not request.annotations
    return Index(
        media_types.DOCKER_INDEX if is_docker and not request.entry_annotations else media_types.OCI_INDEX,
        tuple(_entry(member, request) for member in members),
        request.annotations,
    )


def _entry(member: Member, request: IndexRequest) -> Descriptor:
    own = {
        key: text
        for platform, key, text in request.entry_annotations
        if member.is_image and platform in (None, member.descriptor.platform)
    }
    return replace(member.descriptor, annotations={**member.descriptor.annotations, **own})


def _image_of(member: Member, client: Client) -> FinishedImage:
    """A member as its registry has it: blobs that can't be mounted are sent as they are read."""
    image = FinishedImage(
        member.descriptor, member.manifest, member.data, partial(open_blob, client, member.reference)
    )
    return replace(image, origins={blob.digest: member.reference for blob in image.blobs})
