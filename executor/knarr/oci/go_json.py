"""JSON as Go's encoding/json reads it into a struct, which is how other tools read the same documents.

A null is as good as nothing, in lists and maps it is an empty value; names of properties count in any case;
text that is no UTF-8 has U+FFFD in its place. Digests are of the bytes as they came, whatever is read here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""


@dataclass(frozen=True, slots=True)
class Value:
    """Anything; it stays as it is."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A map whose values say nothing (`map[string]struct{}`)."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list."""

    items: "Shape"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map with any keys, which count as they are."""

    values: "Shape"


@dataclass(frozen=True, slots=True)
class Struct:
    """An object with properties of these names; others stay as they are."""

    properties: Mapping[str, "Shape"] = field(hash=False)


Shape = Text | Value | Keys | ListOf | MapOf | Struct


def decode(data: bytes) -> Any:
    """The value of a document. Raises ValueError, RecursionError."""
    value = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse)
    return _without_surrogates(value) if b"\\u" in data else value


def shaped(value: Any, shape: Shape) -> Any:
    """The same, read into a shape; what has another type than the shape is left for the caller to refuse."""
    match shape:
        case Struct() if isinstance(value, dict):
            return _struct(value, shape)
        case ListOf() if isinstance(value, list):
            return [_filled(item, shape.items) for item in value]
        case MapOf() if isinstance(value, dict):
            return {key: _filled(item, shape.values) for key, item in value.items()}
        case Keys() if isinstance(value, dict):
            return {key: {} if item is None else item for key, item in value.items()}
    return value


def _struct(value: dict[str, Any], shape: Struct) -> dict[str, Any]:
    folded = {name.lower(): name for name in shape.properties}
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in shape.properties else folded.get(key.lower(), key)
        if name not in shape.properties:
            result[name] = item
        elif item is not None:
            result[name] = shaped(item, shape.properties[name])
    return result


def _filled(item: Any, shape: Shape) -> Any:
    """An element: a null is the empty value of its type."""
    if item is not None:
        return shaped(item, shape)
    match shape:
        case Text():
            return ""
        case ListOf():
            return []
        case MapOf() | Keys() | Struct():
            return {}
    return None


def _without_surrogates(value: Any) -> Any:
    """Half a character, which an escape can name and no encoding has, becomes U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
