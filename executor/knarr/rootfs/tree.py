"""The view of a root file system that steps plan against: entries by path.

A `Tree` never changes anything. COPY, ADD, WORKDIR and USER read it, and do not know whether it is an index
of layers or a directory. Paths are those of `layers.entry.Entry`: relative to the
root, no ".", no "..", no empty component; "" is the root.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import BinaryIO, Protocol

from knarr.errors import ContextError
from knarr.layers.entry import Entry, Kind
from knarr.layers.paths import clean
from knarr.linux.resolve import MAX_LINKS

Lookup = Callable[[str], Entry | None]
OpenContent = Callable[[], BinaryIO]


class Tree(Protocol):
    """A root file system, read-only.

    An entry that a tree gives is never a HARDLINK: each name of a file is that file, and `link_group` says
    which names are the same one.
    """

    def lookup(self, path: str) -> Entry | None:
        """The entry at exactly this path, no symlink followed; None where there is none."""
        ...

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """The path with its symlinks followed inside the root; what does not exist is kept as it is."""
        ...

    def children(self, path: str) -> list[str]:
        """The names in a directory, sorted; none for anything else."""
        ...

    def link_group(self, path: str) -> Hashable | None:
        """Equal for two names of one file; None for a file known to have one name."""
        ...

    def prepare(self, paths: Iterable[str]) -> None:
        """Make `open` cheap for these files: one pass over what holds them."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The content of the FILE at this path; the caller closes it."""
        ...

    def same_contents(self, others: Mapping[str, OpenContent]) -> set[str]:
        """Those of these paths, all of them FILEs, whose content is what the callable beside them opens.

        One pass over what holds them; nothing is written.
        """
        ...


def resolve_links(lookup: Lookup, path: str, *, follow_last: bool = True) -> str:
    """Follow the symlinks of `path` within the root that `lookup` sees.

    The rule is that of `linux.resolve`, but for what does not exist: a component that is missing, or that is
    no directory, keeps the rest as it is, since COPY may be about to make it. Raises ContextError for more
    than MAX_LINKS links.
    """
    done: list[str] = []
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if done:
                done.pop()
            continue
        done.append(part)
        if not todo and not follow_last:
            break
        entry = lookup("/".join(done))
        if entry is None or entry.kind is not Kind.SYMLINK:
            continue
        links += 1
        if links > MAX_LINKS:
            raise ContextError(
                f"resolving /{path.lstrip('/')}: more than {MAX_LINKS} symbolic links",
                hint="two of its symbolic links probably point at each other",
            )
        done.pop()
        if entry.link_target.startswith("/"):
            done.clear()
        todo.extend(part for part in reversed(entry.link_target.split("/")) if part not in ("", "."))
    return "/".join(done)


def read_bounded(tree: Tree, path: str, limit_bytes: int) -> bytes | None:
    """The content of a regular file, symlinks followed inside the root; None where it is anything else.

    A FIFO or a device is never opened. Raises ContextError for more than `limit_bytes`.
    """
    real = tree.resolve(path)
    entry = tree.lookup(real)
    if entry is None or entry.kind is not Kind.FILE:
        return None
    if entry.size > limit_bytes:
        raise ContextError(f"reading /{path}: {entry.size} bytes, more than the {limit_bytes} allowed")
    if entry.size == 0:
        return b""
    with tree.open(real) as stream:
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ContextError(f"reading /{path}: more than the {limit_bytes} bytes allowed")
    return content


class EmptyTree:
    """The root file system of `FROM scratch`."""

    def lookup(self, path: str) -> Entry | None:
        """None, but for the root."""
        return None if path else Entry(path="", kind=Kind.DIRECTORY, mode=0o755)

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """The path as it is, cleaned."""
        return clean(path)

    def children(self, path: str) -> list[str]:
        """Nothing."""
        return []

    def link_group(self, path: str) -> Hashable | None:
        """None: there is no file."""
        return None

    def prepare(self, paths: Iterable[str]) -> None:
        """Nothing to do."""

    def open(self, path: str) -> BinaryIO:
        """Raises ContextError: there is no file."""
        raise ContextError(f"opening /{path}: no such file")

    def same_contents(self, others: Mapping[str, OpenContent]) -> set[str]:
        """None: there is no file."""
        return set()
