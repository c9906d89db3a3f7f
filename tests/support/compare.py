"""Says in readable lines how two flattened images differ."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any

from support.flatten import FileFacts, FlatImage

FRESH_FROM_S = 1_767_225_600  # 2026-01-01: contexts and bases are older, what a build makes is newer

_HISTORY_FIELDS = ("created_by", "comment", "empty_layer", "author")
_IMAGE_FIELDS = ("os", "architecture", "variant", "author")


@dataclass(frozen=True, slots=True)
class Names:
    """What the two sides are called in the lines."""

    left: str = "left"
    right: str = "right"


def compare(
    left: FlatImage,
    right: FlatImage,
    *,
    names: Names | None = None,
    ignore: Sequence[str] = (),
    wording: Callable[[str], str] = str,
) -> list[str]:
    """Give one line a difference: files, configuration, history, then what each layer carries.

    A time of modification from FRESH_FROM_S on was made by the build itself: any two such times are equal.
    A fresh directory on the left is equal to any but 1970: BuildKit 0.8 loses the times of directories it
    copies, and its steps touch the parents of their own mount points.
    `ignore` holds patterns of `fnmatch`; a line that one matches is left out. `wording` gives the words of a
    history entry's `created_by` that count.
    """
    chosen = names or Names()
    lines = [
        *_file_differences(left.files, right.files, chosen),
        *_config_differences(left.config, right.config, chosen),
        *_history_differences(_history(left, wording), _history(right, wording), chosen),
        *_layer_differences(left, right, chosen),
    ]
    return [line for line in lines if not any(fnmatchcase(line, pattern) for pattern in ignore)]


def _file_differences(
    left: Mapping[str, FileFacts], right: Mapping[str, FileFacts], names: Names
) -> Iterator[str]:
    for path in sorted(left.keys() | right.keys()):
        mine, theirs = left.get(path), right.get(path)
        if mine and theirs:
            yield from (f"{path}: {text}" for text in _fact_differences(mine, theirs, names))
        elif path != "/":  # whether a layer lists the root at all is the writer's choice
            found = mine or theirs
            yield f"{path}: {found.kind if found else ''} only in {names.left if mine else names.right}"


def _fact_differences(left: FileFacts, right: FileFacts, names: Names) -> Iterator[str]:
    for each in fields(FileFacts):
        mine, theirs = getattr(left, each.name), getattr(right, each.name)
        if mine == theirs or (each.name == "mtime_s" and _same_time(left, right)):
            continue
        if each.name == "mode" and left.kind == right.kind == "symlink":
            continue  # Linux gives it no meaning
        if each.name == "sha256" and left.text and right.text:
            continue  # the text says more
        show = oct if each.name == "mode" else repr
        yield f"{each.name}: {names.left} {show(mine)}, {names.right} {show(theirs)}"


def _same_time(left: FileFacts, right: FileFacts) -> bool:
    if left.mtime_s >= FRESH_FROM_S and left.kind == right.kind == "dir":
        return right.mtime_s != 0
    return left.mtime_s == right.mtime_s or min(left.mtime_s, right.mtime_s) >= FRESH_FROM_S


def _config_differences(left: Mapping[str, Any], right: Mapping[str, Any], names: Names) -> Iterator[str]:
    for key in _IMAGE_FIELDS:
        yield from _value_differences(f"image {key}", left.get(key), right.get(key), names)
    mine, theirs = left.get("config") or {}, right.get("config") or {}
    for key in sorted(mine.keys() | theirs.keys()):
        yield from _value_differences(f"config {key}", mine.get(key), theirs.get(key), names)


def _value_differences(what: str, left: object, right: object, names: Names) -> Iterator[str]:
    if (left or None) != (right or None):  # empty or null or absent: the same to every reader
        yield f"{what}: {names.left} {left!r}, {names.right} {right!r}"


def _history(image: FlatImage, wording: Callable[[str], str]) -> list[dict[str, Any]]:
    entries = image.config.get("history") or []
    return [{**entry, "created_by": wording(entry.get("created_by") or "")} for entry in entries]


def _history_differences(
    left: list[dict[str, Any]], right: list[dict[str, Any]], names: Names
) -> Iterator[str]:
    none: dict[str, Any] = {}
    for number, (mine, theirs) in enumerate(zip_longest(left, right, fillvalue=none)):
        for key in _HISTORY_FIELDS:
            yield from _value_differences(f"history {number} {key}", mine.get(key), theirs.get(key), names)


def _layer_differences(left: FlatImage, right: FlatImage, names: Names) -> Iterator[str]:
    pairs = zip_longest(left.layer_files, right.layer_files, fillvalue=())
    for number, (mine, theirs) in enumerate(pairs):
        yield from (
            f"layer {number}: {path} only in {names.left}" for path in sorted(set(mine) - set(theirs))
        )
        yield from (
            f"layer {number}: {path} only in {names.right}" for path in sorted(set(theirs) - set(mine))
        )
