"""What a layer in the making has no need of: the layers below have the same.

Files, links and nodes are left out where metadata and content are those of before, as BuildKit's differ has
it. Content is read where kind, owner, mode, size, time and attributes are the same already, and only there:
then always, while BuildKit takes two files with the same fraction of a second for one.

Names of one file stay together. All of them are left out, or none, so that no link is lost that the layer
makes; and a name that was made one more name of another file counts as changed.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind, LayerItem
from knarr.layers.paths import name_of, parent_of
from knarr.rootfs.tree import OpenContent, Tree

_NS = 10**9


@dataclass(frozen=True, slots=True)
class Name:
    """A name of a file, link or node that a layer would have."""

    path: str
    looks_same: bool
    """Whether all but the content is as before."""
    open_content: OpenContent | None
    """None where there is none."""
    group: Hashable | None = None
    """Equal for names of one file, now; None for a file with one name."""
    group_before: Hashable | None = None


def find_unchanged(names: Iterable[Name], before: Callable[[], Tree]) -> set[str]:
    """The paths of those that are as before; `before` is asked where contents have to be compared."""
    groups: dict[Hashable, list[Name]] = {}
    for name in names:
        groups.setdefault(("name", name.path) if name.group is None else name.group, []).append(name)
    candidates = {group[0].path: group for group in groups.values() if _may_be_unchanged(group)}
    contents = {
        path: group[0].open_content for path, group in candidates.items() if group[0].open_content is not None
    }
    same = before().same_contents(contents) if contents else set()
    return {
        name.path
        for path, group in candidates.items()
        if path not in contents or path in same
        for name in group
    }


def _may_be_unchanged(group: Sequence[Name]) -> bool:
    if not all(name.looks_same for name in group):
        return False
    before = {name.group_before for name in group}
    return len(group) == 1 or (len(before) == 1 and None not in before)


def without_unchanged(
    items: Sequence[LayerItem], before: Tree, written: Callable[[LayerItem], LayerItem]
) -> list[LayerItem]:
    """The items of a COPY or ADD without those that are there already.

    `written` gives an item as the layer would have it. Times count in whole seconds, which is what layers
    have, and those of directories don't count: the source's says nothing of a directory that was there. A
    directory is kept where something in it is.
    """
    names = _names(items, before, written)
    dropped = find_unchanged(names, lambda: before)
    kept: list[LayerItem] = []
    needed: set[str] = set()
    for item in reversed(items):
        entry = item.entry
        if entry.path in dropped:
            continue
        if entry.kind is Kind.DIRECTORY and entry.path not in needed:
            found = before.lookup(entry.path)
            timeless = replace(item, entry=replace(entry, mtime_ns=0))
            if found is not None and _is_same(replace(found, mtime_ns=0), timeless, written):
                continue
        needed.add(parent_of(entry.path))
        kept.append(item)
    return kept[::-1]


def _names(
    items: Sequence[LayerItem], before: Tree, written: Callable[[LayerItem], LayerItem]
) -> Iterable[Name]:
    targets = {item.entry.link_target for item in items if item.entry.kind is Kind.HARDLINK}
    opaque = {parent_of(item.entry.path) for item in items if name_of(item.entry.path) == OPAQUE_MARKER}
    files = {item.entry.path: item for item in items if item.entry.path in targets}
    for item in items:
        path = item.entry.path
        if item.entry.kind is Kind.DIRECTORY or name_of(path).startswith(WHITEOUT_PREFIX):
            continue
        is_link = item.entry.kind is Kind.HARDLINK
        file = files.get(item.entry.link_target, item) if is_link else item
        found = None if _is_below(path, opaque) else before.lookup(path)
        yield Name(
            path,
            looks_same=found is not None and _is_same(found, file, written),
            open_content=file.open_content,
            group=file.entry.path if file.entry.path in targets else None,
            group_before=before.link_group(path),
        )


def _is_below(path: str, directories: set[str]) -> bool:
    while directories and path:
        path = parent_of(path)
        if path in directories:
            return True
    return False


def _is_same(before: Entry, item: LayerItem, written: Callable[[LayerItem], LayerItem]) -> bool:
    entry = written(item).entry
    same = replace(before, path=entry.path, mtime_ns=before.mtime_ns // _NS * _NS)
    rounded = replace(entry, mtime_ns=entry.mtime_ns // _NS * _NS)
    return same == rounded or same == replace(rounded, xattrs=item.entry.xattrs)
