"""Small file trees as lines of text, on disk and as layers.

A line is a letter, a path, and what differs from the usual: `d etc 0700 5:6`, `f etc/motd 0600 =text`,
`l bin -> usr/bin`, `h b -> a` (a hard link), `p fifo`. Modes are 0755 for directories and 0644 otherwise,
owners 0:0. Parents need no line.
"""

import io
import os
import re
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.paths import join
from knarr.layers.spool import Spool
from knarr.layers.tar.read import read_members
from knarr.layers.tar.write import write_tar
from knarr.rootfs.inode import OWNER_XATTR
from knarr.rootfs.layer_tree import LayerTree
from knarr.rootfs.tree import Tree

MTIME_NS = 1_600_000_000_000_000_000
_LETTERS = {
    "f": Kind.FILE,
    "d": Kind.DIRECTORY,
    "l": Kind.SYMLINK,
    "h": Kind.HARDLINK,
    "p": Kind.FIFO,
    "c": Kind.CHAR,
    "b": Kind.BLOCK,
}
_NAMES = {kind: letter for letter, kind in _LETTERS.items()}
_LINE = re.compile(
    r"(?P<letter>[fdlhpcb]) (?P<path>.+?)(?: (?P<mode>[0-7]{4}))?(?: (?P<uid>\d+):(?P<gid>\d+))?"
    r"(?: -> (?P<target>.*)| =(?P<content>.*))?",
    re.DOTALL,
)


def parse_line(line: str) -> tuple[Entry, bytes]:
    """The entry that a line describes, with its content."""
    found = _LINE.fullmatch(line)
    assert found is not None, line
    kind = _LETTERS[found["letter"]]
    content = (found["content"] or "").encode()
    entry = Entry(
        path=found["path"],
        kind=kind,
        mode=int(found["mode"], 8) if found["mode"] else usual_mode(kind),
        uid=int(found["uid"] or 0),
        gid=int(found["gid"] or 0),
        mtime_ns=MTIME_NS,
        size=len(content),
        link_target=found["target"] or "",
    )
    return entry, content


def usual_mode(kind: Kind) -> int:
    return {Kind.DIRECTORY: 0o755, Kind.SYMLINK: 0o777}.get(kind, 0o644)


def show_entry(entry: Entry, content: bytes | None) -> str:
    """The line of an entry."""
    text = f"{_NAMES[entry.kind]} {entry.path}"
    plain = entry.kind not in (Kind.SYMLINK, Kind.HARDLINK)
    if plain and (entry.mode != usual_mode(entry.kind) or (entry.uid, entry.gid) != (0, 0)):
        text += f" {entry.mode:04o}"
    if entry.kind is not Kind.HARDLINK and (entry.uid, entry.gid) != (0, 0):
        text += f" {entry.uid}:{entry.gid}"
    if not plain:
        text += f" -> {entry.link_target}"
    if entry.kind is Kind.FILE and content is not None:
        text += f" ={content.decode(errors='replace')}"
    return text


def items_of(lines: Iterable[str]) -> list[LayerItem]:
    """The lines as the items of a layer."""
    parsed = [parse_line(line) for line in lines]
    return [LayerItem(entry, partial(io.BytesIO, content) if content else None) for entry, content in parsed]


def show_items(items: Iterable[LayerItem]) -> list[str]:
    """The items of a layer as lines, contents read."""
    lines = []
    for item in items:
        content = b""
        if item.open_content is not None:
            with item.open_content() as stream:
                content = stream.read()
        assert item.entry.kind is not Kind.FILE or len(content) == item.entry.size
        lines.append(show_entry(item.entry, content))
    return lines


def show_tree(tree: Tree, directory: str = "") -> list[str]:
    """All that is in a tree as lines; names of one file are that file each."""
    lines = []
    for name in tree.children(directory):
        entry = tree.lookup(join(directory, name))
        assert entry is not None
        content = None
        if entry.kind is Kind.FILE:
            with tree.open(entry.path) as stream:
                content = stream.read()
        lines.append(show_entry(entry, content))
        if entry.kind is Kind.DIRECTORY:
            lines += show_tree(tree, entry.path)
    return lines


def layer_tree(lines: Iterable[str], spool: Path) -> LayerTree:
    """A tree of one layer."""
    return with_items(LayerTree(Spool(spool, _open_tar)), items_of(lines))


def with_items(tree: LayerTree, items: Iterable[LayerItem]) -> LayerTree:
    """A tree that `layer_tree` made, with one more layer; the spool knows it by its tar."""
    out = io.BytesIO()
    write_tar(items, out.write)
    return tree.with_layer(read_members(io.BytesIO(out.getvalue())), out.getvalue())


@contextmanager
def _open_tar(tar: Hashable) -> Iterator[io.BytesIO]:
    assert isinstance(tar, bytes)
    yield io.BytesIO(tar)


def write_tree(root: Path, lines: Iterable[str]) -> Path:
    """Make what the lines say below `root`; owners go where a namespace with a single id would put them."""
    root.mkdir(exist_ok=True)
    directories: dict[str, Entry] = {}
    for line in lines:
        entry, content = parse_line(line)
        path = root / entry.path
        for parent in list(PurePosixPath(entry.path).parents)[:-1]:
            directories.setdefault(str(parent), parse_line(f"d {parent}")[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind is Kind.DIRECTORY:
            path.mkdir(exist_ok=True)
            directories[entry.path] = entry
            continue
        _make(root, path, entry, content)
    for name, entry in directories.items():
        _describe(root / name, entry)
    return root


def _make(root: Path, path: Path, entry: Entry, content: bytes) -> None:
    if entry.kind is Kind.SYMLINK:
        path.symlink_to(entry.link_target)
        return
    if entry.kind is Kind.HARDLINK:
        path.hardlink_to(root / entry.link_target)
        return
    if entry.kind is Kind.FIFO:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    _describe(path, entry)


def _describe(path: Path, entry: Entry) -> None:
    path.chmod(entry.mode)
    if (entry.uid, entry.gid) != (os.geteuid(), os.getegid()) and entry.kind in (Kind.FILE, Kind.DIRECTORY):
        os.setxattr(path, OWNER_XATTR, f"{entry.uid}:{entry.gid}".encode())
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
