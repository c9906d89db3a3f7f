"""A root file system read from its layers' tar headers; nothing is extracted.

Nodes are never changed once a tree is made. A new layer copies the directories on the way to what it
changes, so that the stages built on one base share its nodes.
"""

import os
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import BinaryIO

from knarr.errors import ContextError, CorruptError
from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind
from knarr.layers.paths import join, name_of, parent_of
from knarr.layers.spool import Spool, StoredContent
from knarr.layers.tar.names import MAX_PATH_BYTES
from knarr.layers.tar.read import TarMember
from knarr.rootfs.tree import OpenContent, resolve_links


class _Node:
    """One inode. Names of one file share it; `children` is None for all but a directory."""

    __slots__ = (
        "children",
        "content",
        "device",
        "gid",
        "kind",
        "link_target",
        "linked",
        "mode",
        "mtime_ns",
        "size",
        "uid",
        "xattrs",
    )

    def __init__(
        self, entry: Entry, content: StoredContent | None, children: "dict[str, _Node] | None"
    ) -> None:
        self.kind = entry.kind
        self.mode = entry.mode
        self.uid = entry.uid
        self.gid = entry.gid
        self.mtime_ns = entry.mtime_ns
        self.size = entry.size
        self.link_target = entry.link_target
        self.device = entry.device
        self.xattrs: Mapping[str, bytes] = entry.xattrs
        self.content = content
        self.children = children
        self.linked = False

    def entry(self, path: str) -> Entry:
        """The node as the entry of one of its names."""
        return Entry(
            path=path,
            kind=self.kind,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime_ns=self.mtime_ns,
            size=self.size,
            link_target=self.link_target,
            device=self.device,
            xattrs=self.xattrs,
        )

    def copy(self) -> "_Node":
        """A directory node with the same metadata, and a dictionary of its own of the same children."""
        return _Node(self.entry(""), None, dict(self.children or {}))


class LayerTree:
    """An index of layers, applied bottom first (image-spec layer.md, "Applying Changesets")."""

    def __init__(self, spool: Spool, root: _Node | None = None) -> None:
        self._spool = spool
        self._root = root or _Node(_plain_directory(""), None, {})

    def with_layer(self, members: Iterable[TarMember], source: Hashable) -> "LayerTree":
        """This tree with one more stored layer; `source` is what the spool knows the layer by.

        Raises CorruptError for a hard link to nothing; this tree stays as it is in any case.
        """
        builder = _Builder(self._root)
        for member in members:
            entry = member.entry
            stored = StoredContent(source, member.data_offset, entry.size, member.sparse_map)
            builder.add(entry, stored if entry.kind is Kind.FILE and entry.size else None)
        return LayerTree(self._spool, builder.root)

    def lookup(self, path: str) -> Entry | None:
        """See `Tree.lookup`."""
        node = _find(self._root, path)
        return None if node is None else node.entry(path)

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """See `Tree.resolve`."""
        return resolve_links(self.lookup, path, follow_last=follow_last)

    def children(self, path: str) -> list[str]:
        """See `Tree.children`."""
        node = _find(self._root, path)
        return [] if node is None or node.children is None else sorted(node.children)

    def link_group(self, path: str) -> Hashable | None:
        """See `Tree.link_group`."""
        node = _find(self._root, path)
        return id(node) if node is not None and node.linked else None

    def prepare(self, paths: Iterable[str]) -> None:
        """Write the contents of these files to the spool: one pass over each layer that holds some."""
        nodes = (_find(self._root, path) for path in paths)
        self._spool.fill(node.content for node in nodes if node is not None and node.content is not None)

    def open(self, path: str) -> BinaryIO:
        """See `Tree.open`. A file that was not prepared costs a pass over its layer up to its end."""
        node = _find(self._root, path)
        if node is None or node.kind is not Kind.FILE:
            raise ContextError(f"opening /{path}: no such file in the image")
        return self._spool.open(node.content)

    def same_contents(self, others: Mapping[str, OpenContent]) -> set[str]:
        """See `Tree.same_contents`."""
        stored = {}
        for path, open_other in others.items():
            node = _find(self._root, path)
            if node is not None and node.content is not None:
                stored[path] = node.content, open_other
        return self._spool.same(stored)


def _find(root: _Node, path: str) -> _Node | None:
    node: _Node | None = root
    if path:
        for name in path.split("/"):
            if node is None or node.children is None:
                return None
            node = node.children.get(name)
    return node


class _Builder:
    """Applies one layer to a tree of nodes it does not own; `rootfs.unpacking` does the same on disk."""

    def __init__(self, below: _Node) -> None:
        self.root = below.copy()
        self._own = {id(self.root): self.root}
        """Directories that are this layer's to change; the value keeps the id from being used anew."""
        self._added: set[tuple[int, str]] = set()
        """Directory and name of what this layer brings: a whiteout hides lower layers only (layer.md,
        "Whiteouts")."""
        self._links: set[str] = set()
        """Paths of this layer's symbolic links, the only ones that it follows itself."""
        self._modes: dict[int, int] = {}
        self._last_parent: tuple[str, str, _Node] | None = None
        """An archive comes in tree order: the next entry is mostly in the same directory."""

    def add(self, entry: Entry, content: StoredContent | None) -> None:
        name = name_of(entry.path)
        if not entry.path:
            _describe(self.root, entry)
        elif name.startswith(WHITEOUT_PREFIX):
            self._white_out(entry, name)
        else:
            self._place(entry, name, content)

    def _white_out(self, entry: Entry, name: str) -> None:
        try:
            parent = self._parent(entry)[1]
        except CorruptError:
            # Below a file of the same layer there is nothing to delete.
            return
        self._last_parent = None
        if name == OPAQUE_MARKER:
            self._hide_below(parent)
        else:
            self._hide(parent, name.removeprefix(WHITEOUT_PREFIX))

    def _place(self, entry: Entry, name: str, content: StoredContent | None) -> None:
        directory, parent = self._parent(entry)
        children = _children(parent)
        old = children.get(name)
        if old is not None:
            self._last_parent = None
        if entry.kind is Kind.SYMLINK:
            self._links.add(join(directory, name))
        if entry.kind is Kind.DIRECTORY and old is not None and old.children is not None:
            node = self._owned(children, name, old)
            _describe(node, entry)
        elif entry.kind is Kind.DIRECTORY:
            node = self._new_directory(entry)
        elif entry.kind is Kind.HARDLINK:
            node = self._linked(entry)
        else:
            node = _Node(entry, content, None)
        node.mode = self._modes.setdefault(node.mode, node.mode)
        self._added.add((id(parent), name))
        children[name] = node

    def _linked(self, entry: Entry) -> _Node:
        """The node of a hard link's target; a header that says something else of it changes it."""
        target = resolve_links(self._lookup, entry.link_target, follow_last=False)
        node = _find(self.root, target)
        if node is None or node.children is not None:
            raise CorruptError(
                f"reading a layer: {entry.path!r} is a hard link to {entry.link_target!r}, which is no file"
            )
        if _metadata(node) != _metadata(entry) or entry.xattrs:
            changed = _Node(node.entry(target), node.content, None)
            _describe(changed, replace(entry, xattrs={**node.xattrs, **entry.xattrs}))
            node = changed
            _children(self._directory(parent_of(target)))[name_of(target)] = node
        node.linked = True
        return node

    def _parent(self, entry: Entry) -> tuple[str, _Node]:
        """The directory that holds an entry, with its path after this layer's own links."""
        path = parent_of(entry.path)
        if self._last_parent is None or self._last_parent[0] != path:
            resolved = resolve_links(self._lookup_own_link, path) if self._links else path
            if resolved != path and len(os.fsencode(f"{resolved}/{name_of(entry.path)}")) > MAX_PATH_BYTES:
                raise CorruptError(f"reading a layer: the path of {name_of(entry.path)!r} is too long")
            self._last_parent = (path, resolved, self._directory(resolved))
        return self._last_parent[1:]

    def _directory(self, path: str) -> _Node:
        """The directory at a resolved path, this layer's to change.

        It is made where it is missing, and where a lower layer has something else.
        """
        node, done = self.root, ""
        for name in path.split("/") if path else ():
            children = _children(node)
            child = children.get(name)
            done = join(done, name)
            if child is None:
                child = self._new_directory(_plain_directory(name))
                children[name] = child
            elif child.children is None:
                if (id(node), name) in self._added:
                    raise CorruptError(
                        f"reading a layer: it has files below {name!r} of {path!r}, a file itself"
                    )
                child = self._new_directory(self._like_target(done))
                children[name] = child
            node = self._owned(children, name, child)
        return node

    def _like_target(self, path: str) -> Entry:
        """A new directory in the place of a link, with owner and mode of the one that this leads to."""
        try:
            found = self._lookup(resolve_links(self._lookup, path))
        except ContextError:
            found = None
        if found is None or found.kind is not Kind.DIRECTORY:
            return _plain_directory(path)
        return found

    def _new_directory(self, entry: Entry) -> _Node:
        node = _Node(entry, None, {})
        self._own[id(node)] = node
        return node

    def _owned(self, children: dict[str, _Node], name: str, node: _Node) -> _Node:
        if id(node) in self._own:
            return node
        copied = node.copy()
        self._own[id(copied)] = copied
        children[name] = copied
        return copied

    def _hide_below(self, directory: _Node) -> None:
        """Remove what the layers below have in it; without recursion, since it may have any depth."""
        waiting = [directory]
        while waiting:
            directory = waiting.pop()
            for name in list(_children(directory)):
                if self._hide_one(directory, name):
                    waiting.append(_children(directory)[name])

    def _hide(self, directory: _Node, name: str) -> None:
        """Remove what the layers below have at this name; what this layer has to do with stays."""
        if self._hide_one(directory, name):
            self._hide_below(_children(directory)[name])

    def _hide_one(self, directory: _Node, name: str) -> bool:
        """As `_hide`, for the name alone; true for a directory of this layer, in which the caller goes on."""
        children = _children(directory)
        node = children.get(name)
        if node is None:
            return False
        if id(node) in self._own:
            return True
        if (id(directory), name) not in self._added:
            del children[name]
        return False

    def _lookup_own_link(self, path: str) -> Entry | None:
        return self._lookup(path) if path in self._links else None

    def _lookup(self, path: str) -> Entry | None:
        node = _find(self.root, path)
        return None if node is None else node.entry(path)


def _plain_directory(path: str) -> Entry:
    return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755)


def _metadata(of: "_Node | Entry") -> tuple[int, int, int, int]:
    return of.mode, of.uid, of.gid, of.mtime_ns


def _describe(node: _Node, entry: Entry) -> None:
    """Give a node the metadata of an entry."""
    node.mode, node.uid, node.gid = entry.mode, entry.uid, entry.gid
    node.mtime_ns, node.xattrs = entry.mtime_ns, entry.xattrs


def _children(node: _Node) -> dict[str, _Node]:
    assert node.children is not None
    return node.children
