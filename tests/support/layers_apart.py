"""Layers unpacked each into a directory of its own, then stacked by the kernel: what the result should be.

The rules are containerd's, but for a directory that a layer makes where it has a whiteout too: there the
image spec decides, and nothing of the lower layers shows.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX, Entry, Kind, LayerItem
from support.trees import MTIME_NS, items_of

_OPAQUE = "trusted.overlay.opaque"
_MAX_LINKS = 40


class NoLayerError(Exception):
    """containerd refuses the layer, or there is no saying what it should be."""


@contextmanager
def stacked(place: Path, layers: Sequence[Sequence[str]]) -> Iterator[Path]:
    """The layers, the lowest first, as lines (see `support.trees`); `place` is on no overlay.

    Raises NoLayerError.
    """
    lowers = [place / "nothing"]
    lowers[0].mkdir()
    for number, lines in enumerate(layers):
        layer = _Layer(place / f"layer{number}", lowers[::-1])
        for item in items_of(lines):
            layer.add(item)
        layer.finish()
        lowers.append(layer.root)
    merged = place / "merged"
    merged.mkdir()
    options = "lowerdir=" + ":".join(map(str, reversed(lowers)))
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
    try:
        yield merged
    finally:
        subprocess.run(["umount", merged], check=True)


class _Layer:
    """One layer in a directory that starts empty."""

    def __init__(self, root: Path, parents: Sequence[Path]) -> None:
        root.mkdir()
        self.root = root
        self._parents = parents
        """Roots of the layers below, the topmost first."""
        self._hidden: list[Path] = []

    def add(self, item: LayerItem) -> None:
        entry = item.entry
        head, _, name = entry.path.rpartition("/")
        directory = _resolved(self.root, head)
        self._make_directories(directory)
        if name == OPAQUE_MARKER:
            os.setxattr(directory, _OPAQUE, b"y")
        elif name.startswith(WHITEOUT_PREFIX):
            self._hidden.append(directory / name.removeprefix(WHITEOUT_PREFIX))
        else:
            self._make(directory / name, entry, item)

    def finish(self) -> None:
        """Hide what has whiteouts: this layer's own things are no lower layer's."""
        for path in self._hidden:
            if not self._is_directory(path.parent) or path.is_symlink() or path.is_file():
                continue
            if path.is_dir():
                os.setxattr(path, _OPAQUE, b"y")
            elif not path.exists():
                os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))

    def _is_directory(self, path: Path) -> bool:
        """Whether the layer has not put something else in the place of a directory, or above it."""
        above = [path, *path.parents]
        above = above[: above.index(self.root)]
        return not any(each.is_symlink() for each in above) and path.is_dir()

    def _make(self, path: Path, entry: Entry, item: LayerItem) -> None:
        is_there = os.path.lexists(path)
        is_merged = is_there and entry.kind is Kind.DIRECTORY and path.is_dir() and not path.is_symlink()
        if is_there and not is_merged:
            raise NoLayerError(f"{path} is there twice, as two kinds of thing: what shows is left to chance")
        if entry.kind is Kind.DIRECTORY:
            path.mkdir(exist_ok=True)
            path.chmod(entry.mode)
        elif entry.kind is Kind.SYMLINK:
            path.symlink_to(entry.link_target)
        elif entry.kind is Kind.HARDLINK:
            self._link(path, entry)
        else:
            path.write_bytes(item.open_content().read() if item.open_content else b"")
            path.chmod(entry.mode)
            os.utime(path, ns=(MTIME_NS, MTIME_NS))
        if entry.kind is not Kind.HARDLINK:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)

    def _link(self, path: Path, entry: Entry) -> None:
        head, _, name = entry.link_target.rpartition("/")
        try:
            os.link(_resolved(self.root, head) / name, path, follow_symlinks=False)
        except OSError as error:
            raise NoLayerError from error
        if not path.is_symlink():
            path.chmod(entry.mode)
            os.chown(path, entry.uid, entry.gid)

    def _make_directories(self, path: Path) -> None:
        """As mkdir -p, but with owner and mode of the directory that the topmost layer below has there."""
        if path == self.root or (path.is_dir() and not path.is_symlink()):
            return
        if os.path.lexists(path):
            raise NoLayerError(f"{path} is no directory")
        self._make_directories(path.parent)
        path.mkdir()
        for parent in self._parents:
            below = _resolved(parent, str(path.relative_to(self.root)))
            if os.path.lexists(below):
                if below.is_dir():
                    shutil.copymode(below, path)
                    os.chown(path, below.stat().st_uid, below.stat().st_gid)
                return


def _resolved(root: Path, path: str) -> Path:
    """Where a path leads in this root alone, links followed; what is missing is kept as it is."""
    done: list[str] = []
    todo = [part for part in reversed(path.split("/")) if part]
    links = 0
    while todo:
        part = todo.pop()
        if part in (".", ".."):
            del done[len(done) - (part == "..") :]
            continue
        at = root.joinpath(*done, part)
        if not at.is_symlink():
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise NoLayerError("a circle of links")
        target = os.readlink(at)
        if target.startswith("/"):
            done.clear()
        todo += [each for each in reversed(target.split("/")) if each]
    return root.joinpath(*done)
