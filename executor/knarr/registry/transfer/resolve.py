"""From an image's name to its manifest with its config."""

from collections.abc import Iterable
from dataclasses import dataclass

from knarr.errors import CorruptError, RegistryError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import Descriptor, Index, Manifest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.transfer.attempts import attempt
from knarr.registry.transfer.manifests import Document, Documents, ManifestReader

_MAX_DEPTH = 8
_MAX_UNMARKED = 16


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image of one platform; everything in it was checked against its digest."""

    reference: Reference
    """By the digest of the manifest."""
    descriptor: Descriptor
    """The manifest's own."""
    manifest: Manifest
    manifest_bytes: bytes
    config: ImageConfig
    config_bytes: bytes
    top: Descriptor
    """What the name itself stands for: an index, or the manifest again."""


def resolve(
    client: Client, reference: Reference, platform: Platform, *, store: Documents | None = None
) -> ResolvedImage:
    """Find the image that suits a platform best.

    With a store, manifests and configs that are in it are not fetched again, those that are fetched are
    kept. A name that has a digest is then found without the network. Raises RegistryError (no such image, no
    such platform: then with those that exist), CorruptError.
    """
    return attempt(
        client,
        client.policy.extra_manifest_reads,
        f"read {reference}",
        lambda _: _Resolver(client, reference, platform, store).resolve(),
    )


class _Resolver:
    def __init__(
        self, client: Client, reference: Reference, platform: Platform, store: Documents | None
    ) -> None:
        self._client = client
        self._reference = reference
        self._platform = platform
        self._manifests = ManifestReader(client, reference, store)

    def resolve(self) -> ResolvedImage:
        top = self._manifests.read(self._reference)
        seen: set[Digest] = set()
        image = self._choose(top, seen, _MAX_DEPTH)
        if image is None:
            exist = sorted({str(item) for item in self._platforms(top)})
            raise RegistryError(
                f"{self._reference} has no image for {self._platform}",
                hint=f"it has {', '.join(exist)}" if exist else None,
            )
        document, config_bytes, config = image
        if document is top and config.platform.os and not self._platform.runs(config.platform):
            self._client.reporter.report(
                Note(f"{self._reference} is for {config.platform}, not {self._platform}", "warning")
            )
        manifest = document.value
        assert isinstance(manifest, Manifest)
        return ResolvedImage(
            self._reference.with_digest(document.descriptor.digest),
            document.descriptor,
            manifest,
            document.data,
            config,
            config_bytes,
            top.descriptor,
        )

    def _choose(
        self, document: Document, seen: set[Digest], depth: int, *, is_checked: bool = True
    ) -> tuple[Document, bytes, ImageConfig] | None:
        """The best image at or below a document; without `is_checked` its config must name the platform."""
        if isinstance(document.value, Manifest):
            data, config = self._manifests.config(document.value)
            return (document, data, config) if is_checked or self._platform.runs(config.platform) else None
        if depth == 0:
            raise CorruptError(f"{self._reference}: indexes are nested more than {_MAX_DEPTH} deep")
        for child in _candidates(document.value, self._platform):
            if child.digest in seen:
                continue
            seen.add(child.digest)
            below = self._manifests.read(self._reference.with_digest(child.digest), child)
            found = self._choose(below, seen, depth - 1, is_checked=child.platform is not None)
            if found is not None:
                return found
        return None

    def _platforms(self, document: Document) -> Iterable[Platform]:
        if isinstance(document.value, Index):
            for child in document.value.manifests:
                if child.platform is not None and child.platform.os != "unknown":
                    yield child.platform


def _candidates(index: Index, platform: Platform) -> list[Descriptor]:
    """Children by how well they suit, then a few that don't say what they are for."""
    known = media_types.INDEXES | media_types.MANIFESTS
    children = [child for child in index.manifests if child.media_type in known]
    marked = [child for child in children if child.platform is not None and platform.runs(child.platform)]
    unmarked = [child for child in children if child.platform is None]
    marked.sort(key=lambda child: -platform.runs(child.platform) if child.platform is not None else 0)
    return [*marked, *unmarked[:_MAX_UNMARKED]]
