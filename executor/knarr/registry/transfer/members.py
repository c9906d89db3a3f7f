"""The images that an index can name: what stands behind a name, platform by platform."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from knarr.errors import UsageError
from knarr.oci import media_types
from knarr.oci.manifest import Descriptor, Index, Manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.registry.client import Client
from knarr.registry.transfer.attempts import attempt
from knarr.registry.transfer.manifests import Document, ManifestReader

_UNKNOWN = "unknown"
"""What buildx calls operating system and architecture of a manifest that is an attestation."""


@dataclass(frozen=True, slots=True)
class Member:
    """A manifest as an index names it."""

    reference: Reference
    """Where it was found, by digest."""
    descriptor: Descriptor
    """With its platform."""
    manifest: Manifest
    data: bytes

    @property
    def is_image(self) -> bool:
        """Whether something can be run from it; what else an index holds says things about its images."""
        return self.descriptor.platform is not None and self.descriptor.platform.os != _UNKNOWN


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for: the document itself, with the manifests in it."""

    top: Document
    members: tuple[Member, ...]


def resolve_members(client: Client, reference: Reference) -> Found:
    """What a name stands for: one image, or an index with each of its manifests.

    An image's platform is that of its config; an index's word counts where the index has one. Raises
    UsageError for what is no image, RegistryError, CorruptError.
    """
    return attempt(
        client,
        client.policy.extra_manifest_reads,
        f"read {reference}",
        lambda _: _found(ManifestReader(client, reference), reference),
    )


def _found(reader: ManifestReader, reference: Reference) -> Found:
    top = reader.read(reference)
    if isinstance(top.value, Manifest):
        return Found(top, (_image(reader, reference, top, top.value),))
    return Found(top, tuple(_children(reader, reference, top.value)))


def _children(reader: ManifestReader, reference: Reference, index: Index) -> Iterator[Member]:
    for child in index.manifests:
        if child.media_type not in media_types.MANIFESTS:
            raise UsageError(
                f"{reference} holds {child.digest}, which is {child.media_type[:100]}",
                hint="name the images in it by digest",
            )
        document = reader.read(reference.with_digest(child.digest), child)
        assert isinstance(document.value, Manifest)
        if child.platform is None:
            member = _image(reader, reference, document, document.value)
        else:
            member = _member(reference, document, document.value, child.platform)
        yield replace(member, descriptor=replace(member.descriptor, annotations=child.annotations))


def _image(reader: ManifestReader, reference: Reference, document: Document, manifest: Manifest) -> Member:
    if manifest.config.media_type not in media_types.CONFIGS:
        raise UsageError(
            f"{reference} is no image: its config is {manifest.config.media_type[:100]}",
            hint="an index is made of images, one for a platform",
        )
    _, config = reader.config(manifest)
    if not config.document.get("os") or not config.document.get("architecture"):
        raise UsageError(
            f"{reference} does not say what platform it is for",
            hint="its config lacks os or architecture; build it again with --custom-platform",
        )
    return _member(reference, document, manifest, config.platform)


def _member(reference: Reference, document: Document, manifest: Manifest, platform: Platform) -> Member:
    descriptor = replace(document.descriptor, platform=platform)
    return Member(reference.with_digest(descriptor.digest), descriptor, manifest, document.data)
