"""A directory of the machine as a source: the build context, or a named one."""

import dataclasses
import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import BinaryIO

from knarr.builder.sources.own_places import places_below
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.errors import ContextError
from knarr.layers.entry import Entry, Kind
from knarr.layers.paths import clean, join
from knarr.rootfs.copying.sources import missing_source
from knarr.rootfs.copying.write_tree import write_tree
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.tree import Tree

_ROOT_MODE = 0o755


class LocalSource:
    """Looked at through `tree`; what the ignore patterns exclude is there for nobody, nor is what is `own`.

    `copies` is where a part is put when something must be mounted that differs from the directory on disk; it
    is made when needed, and the caller removes it.
    """

    def __init__(
        self,
        path: Path,
        ignore: IgnorePatterns,
        copies: Path,
        *,
        own: Iterable[Path] = (),
        keeps_owners: bool = False,
    ) -> None:
        """With `keeps_owners` files belong to whom they belong to on the machine, else to root.

        `own` are places where this program reads or writes for itself; some may lie in the directory.
        """
        self._path = path
        self._ignore = ignore.without(places_below(path, own))
        self._copies = copies
        self._keeps_owners = keeps_owners
        self._copied: dict[str, Path] = {}
        self._tree: DirTree | None = None
        self._fd: int | None = None

    def tree(self) -> Tree:
        """The directory's files. Raises ContextError."""
        return self.files() if self._keeps_owners else RootOwned(self.files())

    def files(self) -> DirTree:
        """The same with the owners that they have on the machine; opened when first asked for."""
        if self._tree is None:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise ContextError(
                    f"can't open the build context {self._path}: {error.strerror}",
                    hint="name a directory: knarr build DIRECTORY",
                ) from error
            self._tree = DirTree(self._fd, ignore=self._ignore if self._ignore.patterns else None)
        return self._tree

    def is_ignored(self, path: str) -> bool:
        """Whether the ignore file excludes a path, or it is no part of the directory for what it is."""
        return self._ignore.excludes(path)

    def locate(self, path: str) -> tuple[Path, str]:
        """A directory on disk with a path in it where what `path` names lies; not to be written to.

        All there belongs to root, the whole directory is 0755, as in a context that is sent to a builder.
        So it is the directory itself where it looks like that and nothing in that place is excluded, else a
        copy, made once. Raises ContextError where nothing is there.
        """
        tree = self.files()
        resolved = tree.resolve(clean(path))
        if tree.lookup(resolved) is None:
            raise missing_source(path, self.is_ignored)
        if not tree.excludes_below(resolved) and _looks_sent(tree, resolved):
            return self._path, resolved
        if resolved not in self._copied:
            self._copies.mkdir(exist_ok=True)
            copy = self._copies / str(len(self._copied))
            write_tree(RootOwned(tree), resolved, copy)
            self._copied[resolved] = copy
        return self._copied[resolved], ""

    def close(self) -> None:
        """Close what is open."""
        if self._tree is not None:
            self._tree.close()
            self._tree = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class RootOwned:
    """A tree whose entries all belong to root, as those of a build context do; its root is 0755."""

    def __init__(self, tree: DirTree) -> None:
        self._tree = tree

    def lookup(self, path: str) -> Entry | None:
        """See `Tree.lookup`."""
        entry = self._tree.lookup(path)
        return entry and dataclasses.replace(entry, uid=0, gid=0, mode=entry.mode if path else _ROOT_MODE)

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """See `Tree.resolve`."""
        return self._tree.resolve(path, follow_last=follow_last)

    def children(self, path: str) -> list[str]:
        """See `Tree.children`."""
        return self._tree.children(path)

    def link_group(self, path: str) -> Hashable | None:
        """See `Tree.link_group`."""
        return self._tree.link_group(path)

    def prepare(self, paths: Iterable[str]) -> None:
        """See `Tree.prepare`."""

    def open(self, path: str) -> BinaryIO:
        """See `Tree.open`."""
        return self._tree.open(path)


def _looks_sent(tree: DirTree, path: str) -> bool:
    """Whether all that is there belongs to root, and the root of the tree is 0755."""
    waiting = [path]
    while waiting:
        path = waiting.pop()
        entry = tree.lookup(path)
        if entry is None:
            continue
        if (entry.uid, entry.gid) != (0, 0) or (not path and entry.mode != _ROOT_MODE):
            return False
        if entry.kind is Kind.DIRECTORY:
            waiting += [join(path, name) for name in tree.children(path)]
    return True
