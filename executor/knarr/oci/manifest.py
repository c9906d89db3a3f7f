"""Manifests, indexes and the descriptors in them (image-spec manifest.md, image-index.md, descriptor.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knarr.errors import CorruptError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.go_json import ListOf, MapOf, Struct, Text, Value, decode, shaped
from knarr.oci.platform import Platform

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_DESCRIPTORS = 10_000
_PLATFORM = Struct(
    {
        "architecture": Text(),
        "os": Text(),
        "os.version": Text(),
        "os.features": ListOf(Text()),
        "variant": Text(),
    }
)
_DESCRIPTOR = Struct(
    {
        "mediaType": Text(),
        "digest": Text(),
        "size": Value(),
        "annotations": MapOf(Text()),
        "platform": _PLATFORM,
    }
)
_DOCUMENT = Struct(
    {
        "schemaVersion": Value(),
        "mediaType": Text(),
        "config": _DESCRIPTOR,
        "layers": ListOf(_DESCRIPTOR),
        "manifests": ListOf(_DESCRIPTOR),
        "annotations": MapOf(Text()),
        "fsLayers": Value(),
    }
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob or manifest is: media type, digest, size in bytes."""

    media_type: str
    digest: Digest
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None

    @classmethod
    def parse(cls, value: object) -> "Descriptor":
        """Read a decoded JSON object; CorruptError where a property is missing or of a wrong type."""
        if not isinstance(value, dict):
            raise CorruptError("a descriptor is not a JSON object")
        media_type, size = value.get("mediaType"), value.get("size")
        if not isinstance(media_type, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise CorruptError("a descriptor has no mediaType, or no size of zero or more")
        return cls(
            media_type,
            Digest.parse(str(value.get("digest"))),
            size,
            _parse_annotations(value.get("annotations")),
            _parse_platform(value.get("platform")),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object, properties in the spec's order."""
        result: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size_bytes,
        }
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.platform is not None:
            result["platform"] = _platform_to_json(self.platform)
        return result


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image of one platform: its config and its layers, the lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def to_bytes(self) -> bytes:
        """The manifest's bytes; the same value always gives the same bytes."""
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        return encode_json(value)


@dataclass(frozen=True, slots=True)
class Index:
    """Manifests of several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def to_bytes(self) -> bytes:
        """The index's bytes; the same value always gives the same bytes."""
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [manifest.to_json() for manifest in self.manifests],
        }
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        return encode_json(value)


def encode_json(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def decode_json_object(data: bytes, what: str) -> dict[str, Any]:
    """Decode a JSON object of bounded size; CorruptError names `what` otherwise."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise CorruptError(f"{what} is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        value = decode(data)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise CorruptError(f"{what} is not a JSON object")
    return value


def parse_manifest(data: bytes, *described_as: str | None) -> Manifest | Index:
    """Read a manifest or an index, as encoding/json does.

    `described_as` is what the registry, or the index above, said it is, the one that counts most first; it
    decides only where the document doesn't say. That one calls OCI's what the other calls Docker's is no
    contradiction. A document that is image and index at once (or neither), that is the one where it was
    described as the other, or has the old schema 1, raises CorruptError.
    """
    value = shaped(decode_json_object(data, "the manifest"), _DOCUMENT)
    if value.get("schemaVersion", 2) != 2 or value.get("fsLayers"):
        raise CorruptError(
            "the manifest is of an old schema",
            hint="push the image again with a current tool; schema 1 is gone",
        )
    if not value.keys() & {"schemaVersion", "config", "layers", "manifests"}:
        raise CorruptError("not a manifest")
    own = value.get("mediaType") or None
    if own is not None and not isinstance(own, str):
        raise CorruptError("the manifest's mediaType is not text")
    if "manifests" in value and ("layers" in value or "config" in value):
        raise CorruptError("the manifest is ambiguous: image and index at once")
    described = [known for known in map(known_type, described_as) if known is not None]
    stated = known_type(own) or (described[0] if described else own or _guess_type(value))
    for known in described:
        if not is_same_kind(known, stated):
            raise CorruptError(f"the manifest says it is {stated}, the registry says {known}")
    annotations = _parse_annotations(value.get("annotations"))
    if stated in media_types.INDEXES and "layers" not in value and "config" not in value:
        return Index(stated, _parse_list(value.get("manifests", []), "manifests"), annotations)
    if stated in media_types.MANIFESTS and "manifests" not in value:
        config = value.get("config")
        if isinstance(config, dict):
            config = {"mediaType": media_types.CONFIG_OF_MANIFEST[stated], **config}
        return Manifest(
            stated, Descriptor.parse(config), _parse_list(value.get("layers", []), "layers"), annotations
        )
    raise CorruptError(f"not an image manifest: media type {stated[:100]!r}")


def known_type(media_type: str | None) -> str | None:
    """The media type of a manifest or an index in a header, without parameters; None for anything else."""
    plain = (media_type or "").partition(";")[0].strip().lower()
    return plain if plain in media_types.INDEXES | media_types.MANIFESTS else None


def is_same_kind(one: str, other: str) -> bool:
    """Whether two media types are both an index's, or neither."""
    return (one in media_types.INDEXES) == (other in media_types.INDEXES)


def _guess_type(value: Mapping[str, Any]) -> str:
    return media_types.OCI_INDEX if "manifests" in value else media_types.OCI_MANIFEST


def _parse_list(value: object, what: str) -> tuple[Descriptor, ...]:
    if not isinstance(value, list) or len(value) > _MAX_DESCRIPTORS:
        raise CorruptError(f"the manifest's {what} are not a list of at most {_MAX_DESCRIPTORS}")
    return tuple(Descriptor.parse(item) for item in value)


def _parse_annotations(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(key): str(text) for key, text in value.items()}


def _parse_platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    return Platform.normalised(
        str(value.get("os", "")),
        str(value.get("architecture", "")),
        str(value.get("variant") or ""),
        str(value.get("os.version") or ""),
    )


def _platform_to_json(platform: Platform) -> dict[str, str]:
    result = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        result["os.version"] = platform.os_version
    if platform.variant:
        result["variant"] = platform.variant
    return result
