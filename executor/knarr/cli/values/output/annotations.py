"""Annotations with the levels that buildx knows: of manifests, of indexes, of what names them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from knarr.errors import UsageError
from knarr.oci.platform import Platform

MANIFEST = "manifest"
INDEX = "index"
MANIFEST_DESCRIPTOR = "manifest-descriptor"
INDEX_DESCRIPTOR = "index-descriptor"
_LEVELS = (MANIFEST, INDEX, MANIFEST_DESCRIPTOR, INDEX_DESCRIPTOR)
_LEVEL = re.compile(r"([a-z-]+)(?:\[([A-Za-z0-9_/.-]+)\])?")
_ATTRIBUTE = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/.-]+)\])?\.(.+)")
_FORM = "write [LEVEL[,LEVEL]:]KEY=VALUE; a level is manifest, index, manifest-descriptor or index-descriptor"


@dataclass(frozen=True, slots=True)
class Level:
    """Where an annotation goes, for one platform alone where it says so."""

    name: str
    platform: Platform | None = None

    def __str__(self) -> str:
        return f"{self.name}[{self.platform}]" if self.platform is not None else self.name


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation; `flag` is how the user gave it."""

    flag: str
    levels: tuple[Level, ...]
    key: str
    value: str

    @classmethod
    def parse(cls, text: str, *, default: str) -> "Annotation":
        """Read `[LEVEL[,LEVEL]:]KEY=VALUE`; `default` is the level of a key alone. Raises UsageError."""
        flag = f"--annotation {text.partition('=')[0]}"
        left, equals, value = text.partition("=")
        levels, colon, key = left.partition(":")
        if not colon:
            levels, key = default, left
        if not equals or not key:
            raise UsageError(f"--annotation takes KEY=VALUE, got {text!r}", hint=_FORM)
        return cls(flag, tuple(_level(each, flag) for each in levels.split(",")), key, value)

    @classmethod
    def of_attribute(cls, key: str, value: str, flag: str) -> "Annotation | None":
        """One of an output's attributes, `annotation[-LEVEL][[PLATFORM]].KEY`; None for any other."""
        found = _ATTRIBUTE.fullmatch(key)
        if found is None:
            return None
        name, platform, key = found.groups()
        level = f"{name or MANIFEST}[{platform}]" if platform else name or MANIFEST
        return cls(flag, (_level(level, flag),), key, value)


def _level(text: str, flag: str) -> Level:
    found = _LEVEL.fullmatch(text)
    if found is None or found[1] not in _LEVELS:
        raise UsageError(f"{flag}: {text!r} is no level of annotations", hint=_FORM)
    return Level(found[1], Platform.parse(found[2]) if found[2] else None)


@dataclass(frozen=True, slots=True)
class ImageAnnotations:
    """What one image of one platform gets."""

    manifest: Mapping[str, str] = field(default_factory=dict)
    descriptor: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What does not apply, a line each."""


def for_image(annotations: Iterable[Annotation], platform: Platform) -> ImageAnnotations:
    """The annotations of an image that is pushed without an index.

    Raises UsageError where an annotation is for an index alone. One for another platform is left out.
    """
    manifest: dict[str, str] = {}
    descriptor: dict[str, str] = {}
    notes: list[str] = []
    places = {MANIFEST: manifest, MANIFEST_DESCRIPTOR: descriptor}
    for each in annotations:
        own = [level for level in each.levels if level.name in places]
        if not own:
            raise UsageError(
                f"{each.flag}: an image of one platform has no index",
                hint="give it to knarr index --annotation, which makes one",
            )
        if len(own) < len(each.levels):
            notes.append(f"{each.flag}: an image of one platform has no index; the rest is set")
        for level in own:
            if level.platform in (None, platform):
                places[level.name][each.key] = each.value
            else:
                notes.append(f"{each.flag}: left out, this image is for {platform}")
    return ImageAnnotations(manifest, descriptor, tuple(notes))


@dataclass(frozen=True, slots=True)
class IndexAnnotations:
    """What an index gets, and what its entries get: by platform, None for each."""

    index: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[tuple[Platform | None, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def for_index(annotations: Iterable[Annotation]) -> IndexAnnotations:
    """The annotations of an index. Raises UsageError for one whose levels say nothing of it."""
    index: dict[str, str] = {}
    entries: list[tuple[Platform | None, str, str]] = []
    notes: list[str] = []
    for each in annotations:
        own = [level for level in each.levels if level.name in (INDEX, MANIFEST_DESCRIPTOR)]
        others = [level for level in each.levels if level not in own]
        if not own:
            raise UsageError(
                f"{each.flag}: an index is made of manifests that are as they are, and nothing names it",
                hint=f"give {others[0].name}: to knarr build --annotation; here index: and "
                "manifest-descriptor: apply",
            )
        if others:
            notes.append(f"{each.flag}: {', '.join(map(str, others))} is not set here; the rest is")
        for level in own:
            if level.name == INDEX:
                index[each.key] = each.value
            else:
                entries.append((level.platform, each.key, each.value))
    return IndexAnnotations(index, tuple(entries), tuple(notes))
