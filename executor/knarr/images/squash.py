"""Several layers as one: what they leave together on top of what lies below them."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, Protocol

from knarr.errors import CorruptError
from knarr.layers.entry import NO_XATTRS, OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind, LayerItem
from knarr.layers.paths import join, name_of, parent_of, sort_key
from knarr.layers.spool import Content, Spool, StoredContent
from knarr.layers.tar.read import TarMember


@dataclass(slots=True)
class _File:
    """What is at one or more paths; names of one file share it."""

    entry: Entry
    content: Content | None


class LowerTree(Protocol):
    """What layers lie on, as far as their hard links need it; paths are those of `Entry`."""

    def lookup(self, path: str) -> Entry | None:
        """The entry at exactly this path, no symlink followed; None where there is none."""
        ...

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """The path with its symlinks followed inside the root."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The content of the FILE at this path; the caller closes it."""
        ...


class Squash:
    """Takes layers in their order, the lowest first (image-spec layer.md, "Whiteouts").

    `below` is what the lowest lies on; it is asked only for a hard link to a file of it.
    """

    def __init__(self, spool: Spool, below: Callable[[], LowerTree]) -> None:
        self._spool = spool
        self._below = below
        self._files: dict[str, _File] = {}
        self._deleted: set[str] = set()
        self._opaque: set[str] = set()
        self._inhabited: set[str] = set()
        """Directories that something was put below, ever: a layer need not name the directory itself."""

    def add(self, members: Iterable[TarMember], source: Hashable) -> None:
        """Put one more layer on top; `source` is what the spool knows it by."""
        known = list(members)
        for member in known:  # whiteouts are about the layers below, wherever they stand
            self._take_whiteout(member.entry.path)
        for member in known:
            entry = member.entry
            if not name_of(entry.path).startswith(WHITEOUT_PREFIX):
                content = StoredContent(source, member.data_offset, entry.size, member.sparse_map)
                has_content = entry.kind is Kind.FILE and entry.size
                self._put(entry, content if has_content else None)

    def items(self) -> list[LayerItem]:
        """The one layer; its contents are in the spool by now."""
        stored = (each.content for each in self._files.values())
        self._spool.fill(content for content in stored if isinstance(content, StoredContent))
        first_names: dict[int, str] = {}
        paths = {
            *self._files,
            *map(_whiteout, self._deleted),
            *(join(p, OPAQUE_MARKER) for p in self._opaque),
        }
        return [self._item(path, first_names) for path in sorted(paths, key=sort_key)]

    def _item(self, path: str, first_names: dict[int, str]) -> LayerItem:
        file = self._files.get(path)
        if file is None:
            return LayerItem(Entry(path=path, kind=Kind.FILE, mode=0o644))
        entry = replace(file.entry, path=path)
        first = first_names.setdefault(id(file), path)
        if first != path:
            return LayerItem(
                replace(entry, kind=Kind.HARDLINK, size=0, link_target=first, xattrs=NO_XATTRS, device=(0, 0))
            )
        return LayerItem(entry, partial(self._spool.open, file.content) if entry.size else None)

    def _take_whiteout(self, path: str) -> None:
        name = name_of(path)
        if name == OPAQUE_MARKER:
            directory = parent_of(path)
            self._drop_below(directory)
            self._opaque.add(directory)
            self._settle(directory)
        elif name.startswith(WHITEOUT_PREFIX):
            gone = join(parent_of(path), name.removeprefix(WHITEOUT_PREFIX))
            self._files.pop(gone, None)
            self._drop_below(gone)
            self._opaque.discard(gone)
            self._deleted.add(gone)
            self._settle(parent_of(gone))

    def _put(self, entry: Entry, content: Content | None) -> None:
        path = entry.path
        before = self._files.get(path)
        was_directory = before is not None and before.entry.kind is Kind.DIRECTORY
        if entry.kind is not Kind.DIRECTORY:
            self._drop_below(path)
            self._opaque.discard(path)
        elif path in self._deleted or (before is not None and not was_directory):
            self._opaque.add(path)  # a new directory where an old thing was: nothing of that shines through
        self._deleted.discard(path)
        self._settle(parent_of(path))
        if entry.kind is Kind.HARDLINK:
            self._files[path] = self._linked(entry)
        else:
            self._files[path] = _File(entry, content)

    def _linked(self, entry: Entry) -> _File:
        known = self._files.get(entry.link_target)
        if known is not None:
            return known
        tree = self._below()
        found = tree.lookup(tree.resolve(entry.link_target, follow_last=False))
        if found is None or found.kind is Kind.DIRECTORY:
            raise CorruptError(f"{entry.path!r} is a hard link to {entry.link_target!r}, which is no file")
        file = _File(found, partial(tree.open, found.path) if found.size else None)
        self._files[entry.link_target] = file
        return file

    def _settle(self, directory: str) -> None:
        while directory and directory not in self._inhabited:
            self._inhabited.add(directory)
            directory = parent_of(directory)

    def _drop_below(self, directory: str) -> None:
        if directory and directory not in self._inhabited:
            return
        inside = f"{directory}/" if directory else ""
        for path in [each for each in self._files if each != directory and each.startswith(inside)]:
            del self._files[path]
        self._deleted = {each for each in self._deleted if not each.startswith(inside)}
        self._opaque = {each for each in self._opaque if not each.startswith(inside)}


def _whiteout(path: str) -> str:
    return join(parent_of(path), WHITEOUT_PREFIX + name_of(path))
