"""Cache keys: chained digests of what a step's layer depends on.

Every part goes into a digest with its length in front, so that no two lists of parts are the same bytes.
"""

import hashlib
import struct
from collections.abc import Iterable

from knarr.layers.entry import Entry, LayerItem
from knarr.oci.digest import Digest

VERSION = "knarr.cache.v2"
"""Goes into every key: a change of what keys mean changes it."""

_CHUNK_BYTES = 1024 * 1024
_EXECUTE = 0o111
_SPECIAL_BITS = 0o7000

Part = str | bytes


def digest_parts(parts: Iterable[Part]) -> str:
    """Hex sha256 of the parts, each framed by its length."""
    result = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape")
        result.update(struct.pack(">Q", len(data)))
        result.update(data)
    return result.hexdigest()


def chain_id(diff_ids: Iterable[Digest]) -> str:
    """What a stack of layers is, by content alone."""
    return digest_parts([VERSION, "layers", *(str(diff_id) for diff_id in diff_ids)])


def base_key(diff_ids: Iterable[Digest], platform: str, rules: Iterable[Part] = ()) -> str:
    """The key of a stage before its first step: the base's content, not its date or labels.

    `rules` is what makes all layers of the build other than usual.
    """
    return digest_parts([VERSION, "base", platform, chain_id(diff_ids), *rules])


def step_key(below: str, inputs: Iterable[Part]) -> str:
    """The key of a step on top of another; `inputs` is all else that its layer depends on."""
    return digest_parts([VERSION, "step", below, *inputs])


def state_key(below: str, layer: Digest | Iterable[Part]) -> str:
    """What there is on top of a state: with the layer that a process made, or what a COPY put there.

    A COPY counts by its inputs, not by its layer, which has the times of a checkout in it.
    """
    if isinstance(layer, Digest):
        return digest_parts([VERSION, "state", below, "layer", str(layer)])
    return digest_parts([VERSION, "state", below, "copy", *layer])


def paths_key(stage_key: str, sources: Iterable[Part]) -> str:
    """The key of what a stage of some key has at some paths."""
    return digest_parts([VERSION, "paths", stage_key, *sources])


def content_key(items: Iterable[LayerItem], *, keeps_owner: bool) -> str:
    """What files a COPY takes: names, kinds, contents; no times, and of modes what a checkout keeps.

    Files of a build context get 0644 or 0755 for the key, since the umask of a checkout is nobody's wish;
    `keeps_owner` (files of a stage or image) takes modes and owners as they are. Reads all contents.
    """
    result = hashlib.sha256()
    for item in items:
        result.update(bytes.fromhex(digest_parts(_facts(item.entry, keeps_owner=keeps_owner))))
        if item.open_content is not None:
            result.update(_digest_content(item))
    return result.hexdigest()


def _facts(entry: Entry, *, keeps_owner: bool) -> list[Part]:
    mode, owner = entry.mode, f"{entry.uid}:{entry.gid}"
    if not keeps_owner:
        executable = 0o755 if entry.mode & _EXECUTE else 0o644
        mode = executable | (entry.mode & _SPECIAL_BITS)
    attributes = [part for name in sorted(entry.xattrs) for part in (name, entry.xattrs[name])]
    device = f"{entry.device[0]}:{entry.device[1]}"
    numbers = f"{mode:o} {entry.size} {device} {owner}"
    return [entry.path, entry.kind.value, numbers, entry.link_target, *attributes]


def _digest_content(item: LayerItem) -> bytes:
    assert item.open_content is not None
    digest = hashlib.sha256()
    with item.open_content() as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
