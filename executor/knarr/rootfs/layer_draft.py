"""A layer in the making on top of a tree."""

import stat
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from knarr.errors import ContextError
from knarr.layers.entry import NO_XATTRS, OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind, LayerItem
from knarr.layers.paths import clean, join, name_of, parent_of, sort_key
from knarr.rootfs.tree import Tree, resolve_links


@dataclass(frozen=True, slots=True)
class Owner:
    """Numeric user and group."""

    uid: int
    gid: int


ROOT = Owner(0, 0)


@dataclass(frozen=True, slots=True)
class _Planned:
    entry: Entry
    open_content: Callable[[], BinaryIO] | None
    group: Hashable | None


class LayerDraft:
    """What a step writes, seen together with what was there before.

    Writes come in the order of the step, a later one replacing an earlier; `items` gives the layer.
    `created_ns` is the time of directories that have no source.
    """

    def __init__(self, below: Tree, *, created_ns: int) -> None:
        self._below = below
        self._created_ns = created_ns
        self._planned: dict[str, _Planned] = {}
        self._groups: dict[Hashable, set[str]] = {}
        """Names that were ever put in a group."""
        self._hidden: set[str] = set()
        """Paths whose former content, as a directory, is gone."""

    def lookup(self, path: str) -> Entry | None:
        """The entry that is there once the layer is applied; never a HARDLINK."""
        planned = self._planned.get(path)
        if planned is not None:
            return planned.entry
        return None if self._hides(path) else self._below.lookup(path)

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """The path with its symlinks followed inside the root."""
        return resolve_links(self.lookup, path, follow_last=follow_last)

    def is_directory(self, path: str) -> bool:
        """Whether a directory is at exactly this path."""
        entry = self.lookup(path)
        return not path or (entry is not None and entry.kind is Kind.DIRECTORY)

    def make_directories(self, path: str, *, mode: int = 0o755, owner: Owner | None = None) -> None:
        """Make what is missing of a resolved path; what is there stays as it is.

        Without an owner they are root's, and as mkdir has it, a setgid directory passes on its group and bit.

        Raises ContextError where a component is no directory.
        """
        done = ""
        for name in path.split("/") if path else ():
            done = join(done, name)
            entry = self.lookup(done)
            if entry is None:
                self.put(self._new_directory(done, mode, owner))
            elif entry.kind is not Kind.DIRECTORY:
                raise ContextError(
                    f"making the directory /{path}: /{done} is there and is no directory",
                    hint="a path that ends in / must be a directory, or not exist yet",
                )

    def _new_directory(self, path: str, mode: int, owner: Owner | None) -> Entry:
        parent = self.lookup(parent_of(path))
        if owner is None and parent is not None and parent.mode & stat.S_ISGID:
            mode, owner = mode | stat.S_ISGID, Owner(0, parent.gid)
        uid, gid = (owner.uid, owner.gid) if owner is not None else (0, 0)
        return Entry(path=path, kind=Kind.DIRECTORY, mode=mode, uid=uid, gid=gid, mtime_ns=self._created_ns)

    def put(
        self,
        entry: Entry,
        open_content: Callable[[], BinaryIO] | None = None,
        *,
        group: Hashable | None = None,
    ) -> None:
        """Place an entry at its path, whose parents are there; `group` is equal for names of one file.

        A directory joins one that is there; anything else replaces what is there, a whole directory too.
        Raises ContextError for a name that a layer would read as "deleted" (layer.md, "Whiteouts").
        """
        path = entry.path
        if name_of(path).startswith(WHITEOUT_PREFIX):
            raise deletion_marker(path, hint="rename the file, or exclude it in .dockerignore")
        if entry.kind is not Kind.DIRECTORY and self.is_directory(path):
            self._hide(path)
        self._planned[path] = _Planned(entry, open_content, group)
        if group is not None:
            self._groups.setdefault(group, set()).add(path)

    def link(self, path: str, target: str, header: Entry) -> bool:
        """Make `path` one more name of what is at `target`; False where that is nothing or a directory.

        The file takes owner, mode and time of `header`, the hard link's, as tar does. A file of the tree
        below is in the layer under both names, as a file and its hard link.
        """
        planned = self._planned.get(target)
        if planned is None:
            entry = self.lookup(target)
            if entry is None:
                return False
            planned = _Planned(entry, partial(self._below.open, target), None)
        if planned.entry.kind is Kind.DIRECTORY:
            return False
        mode = planned.entry.mode if planned.entry.kind is Kind.SYMLINK else header.mode
        linked = replace(planned.entry, uid=header.uid, gid=header.gid, mode=mode, mtime_ns=header.mtime_ns)
        if planned.group is not None and linked == planned.entry:
            names = {path}  # one more, where a file may have any number
        else:
            names = {target, path, *self._names(planned.group)}
        group = planned.group or (object() if len(names) > 1 else None)
        for name in sorted(names):
            self.put(replace(linked, path=name), planned.open_content, group=group)
        return True

    def _names(self, group: Hashable | None) -> list[str]:
        if group is None:
            return []
        names = self._groups.get(group, ())
        return [name for name in names if name in self._planned and self._planned[name].group == group]

    def touch(self, path: str, mtime_ns: int) -> None:
        """Change nothing but the modification time of a directory that is there; the root has none."""
        entry = self.lookup(path)
        if path and entry is not None and entry.mtime_ns != mtime_ns:
            self.put(replace(entry, mtime_ns=mtime_ns))

    def items(self) -> list[LayerItem]:
        """The layer: parents before what is in them, siblings by name, unchanged parents included."""
        entries = dict(self._planned)
        for path in self._planned:
            while (path := parent_of(path)) and path not in entries:
                entry = self._below.lookup(path)
                assert entry is not None, f"{path} has no parent"
                entries[path] = _Planned(entry, None, None)
        first_names: dict[Hashable, str] = {}
        items: list[LayerItem] = []
        for path in sorted(entries, key=sort_key):
            items.append(_item(entries[path], first_names))
            if path in self._hidden and entries[path].entry.kind is Kind.DIRECTORY:
                marker = Entry(path=join(path, OPAQUE_MARKER), kind=Kind.FILE, mode=0o644)
                items.append(LayerItem(marker))
        return items

    def _hide(self, path: str) -> None:
        """Forget the directory at this path with all that is in it, below and planned."""
        inside = path + "/"
        for planned in [other for other in self._planned if other.startswith(inside)]:
            del self._planned[planned]
        if self._below.lookup(path) is not None:
            self._hidden.add(path)

    def _hides(self, path: str) -> bool:
        while self._hidden and path:
            if path in self._hidden:
                return True
            path = parent_of(path)
        return False


def deletion_marker(path: str, *, hint: str) -> ContextError:
    """The error for a file that every reader of the layer would take for a whiteout."""
    return ContextError(
        f"writing /{path}: a name that starts with {WHITEOUT_PREFIX!r} means a deletion in an image",
        hint=hint,
    )


def _item(planned: _Planned, first_names: dict[Hashable, str]) -> LayerItem:
    """The planned entry, as a hard link where a name of the same file came before."""
    entry = planned.entry
    if planned.group is not None:
        first = first_names.setdefault(planned.group, entry.path)
        if first != entry.path:
            return LayerItem(
                replace(entry, kind=Kind.HARDLINK, size=0, link_target=first, xattrs=NO_XATTRS, device=(0, 0))
            )
    return LayerItem(entry, planned.open_content if entry.size else None)


def plan_workdir(
    path: str, dest: Tree, *, owner: Owner | None = None, created_ns: int = 0
) -> list[LayerItem]:
    """The layer that WORKDIR makes: missing directories, mode 0755, all of them the user's if there is one.

    Empty where the directory is there. Symlinks are followed inside the root. Raises ContextError where
    something on the way is no directory.
    """
    plan = LayerDraft(dest, created_ns=created_ns)
    plan.make_directories(plan.resolve(clean(path)), owner=owner)
    return plan.items()
