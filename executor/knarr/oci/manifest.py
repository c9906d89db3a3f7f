"""Manifests, indexes and the descriptors in them (image-spec manifest.md, image-index.md, descriptor.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knarr.errors import CorruptError
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.platform import Platform

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_DESCRIPTORS = 10_000


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
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise CorruptError(f"{what} is not a JSON object")
    return value


def parse_manifest(data: bytes, content_type: str | None = None) -> Manifest | Index:
    """Read a manifest or an index.

    `content_type` is what the registry said; it decides only where the document doesn't say. A document that
    is both (or neither), contradicts its content type, or has the old schema 1, raises CorruptError.
    """
    value = decode_json_object(data, "the manifest")
    if value.get("schemaVersion") != 2:
        raise CorruptError(
            "the manifest is of an old schema",
            hint="push the image again with a current tool; schema 1 is gone",
        )
    stated = value.get("mediaType") or _known_type(content_type) or _guess_type(value)
    if "manifests" in value and ("layers" in value or "config" in value):
        raise CorruptError("the manifest is ambiguous: image and index at once")
    if _known_type(content_type) not in (None, stated):
        raise CorruptError(f"the manifest says it is {stated}, the registry says {content_type}")
    annotations = _parse_annotations(value.get("annotations"))
    if not isinstance(stated, str):
        raise CorruptError("the manifest's mediaType is not text")
    if stated in media_types.INDEXES:
        return Index(stated, _parse_list(value.get("manifests"), "manifests"), annotations)
    if stated in media_types.MANIFESTS:
        return Manifest(
            stated,
            Descriptor.parse(value.get("config")),
            _parse_list(value.get("layers"), "layers"),
            annotations,
        )
    raise CorruptError(f"not an image manifest: media type {stated[:100]!r}")


def _known_type(content_type: str | None) -> str | None:
    plain = (content_type or "").partition(";")[0].strip()
    return plain if plain in media_types.INDEXES | media_types.MANIFESTS else None


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
