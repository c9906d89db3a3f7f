"""What COPY and ADD write, planned as the items of a layer.

Behaves as BuildKit's file operations do. The planning reads trees and writes nothing; contents are opened
when the layer is written.
"""

import io
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.ignore.wildcards import has_wildcard
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.layers.paths import clean, join, name_of, parent_of
from knarr.layers.spool import Spool
from knarr.rootfs.copying.archive import open_archive, plan_archive
from knarr.rootfs.copying.chmod import ModeChange
from knarr.rootfs.copying.sources import Ignored, find_sources, missing_source, parents_pattern
from knarr.rootfs.copying.walk import CopyWalk, Metadata, place_file
from knarr.rootfs.layer_draft import LayerDraft, Owner
from knarr.rootfs.tree import EmptyTree, Tree


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A source that is in no tree: a heredoc, or a download."""

    name: str
    size: int
    open_content: Callable[[], BinaryIO]
    mode: int = 0o644
    mtime_ns: int | None = None
    """None is the time of the build."""
    unpack: bool = False
    """Whether it is unpacked where it is an archive."""

    @classmethod
    def document(cls, name: str, data: bytes) -> "InlineFile":
        """The body of a heredoc."""
        return cls(name, len(data), partial(io.BytesIO, data))


@dataclass(frozen=True, slots=True)
class TreeSource:
    """A source that is all that is in a directory of another tree: a git repository."""

    tree: Tree
    path: str = ""
    """With its symlinks followed."""


CopySource = str | InlineFile | TreeSource
"""A path of the source tree, wildcards included, or what is in no such tree."""


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """A COPY or ADD with its words expanded."""

    dest: str
    """Absolute, as `join_dest` gives it: a slash at the end means a directory."""
    sources: tuple[CopySource, ...] = ()
    files: tuple[InlineFile, ...] = ()
    """Come after `sources`."""
    keep_owner: bool = False
    """True with --from; what comes from a build context belongs to root."""
    chown: Owner | None = None
    chmod: ModeChange | None = None
    link: bool = False
    parents: bool = False
    exclude: IgnorePatterns | None = None
    """Paths relative to each source directory; a source itself is never left out, as in BuildKit."""
    unpack: bool = False
    """Whether a path that is an archive is unpacked: true for ADD."""
    created_ns: int = 0
    """The time of what has no source: directories made on the way, heredocs."""
    ignored: Ignored | None = None
    """Whether the build context leaves out a path; for the hint of an error only."""

    @property
    def is_alone(self) -> bool:
        """Whether the layer has nothing to do with those below: BuildKit's --link, but not with --chmod."""
        return self.link and self.chmod is None


def join_dest(workdir: str, dest: str) -> str:
    """The destination as an absolute path, in `workdir` where relative; keeps that it is a directory."""
    path = posixpath.join("/", workdir, dest)
    directory = dest in ("", ".") or dest.endswith(("/", "/."))
    return "/" + clean(path) + ("/" if directory and clean(path) else "")


def plan_copy(
    request: CopyRequest, source: Tree, dest: Tree, *, spool: Spool | None = None
) -> list[LayerItem]:
    """The layer that a COPY or ADD makes: parents first, then by name.

    Prepares `source` for the contents that the items open. `spool` takes the uncompressed archives of ADD;
    without it nothing is unpacked. Raises ContextError for a source that is missing, and where a file would
    replace a directory or a directory a file.
    """
    return _Copy(request, source, EmptyTree() if request.is_alone else dest, spool).items()


class _Copy:
    """One COPY at work."""

    def __init__(self, request: CopyRequest, source: Tree, dest: Tree, spool: Spool | None) -> None:
        self._request = request
        self._source = source
        self._spool = spool
        self._plan = LayerDraft(dest, created_ns=request.created_ns)
        self._metadata = Metadata(request.chown, request.chmod, keep_owner=request.keep_owner)
        self._wanted: list[str] = []

    def items(self) -> list[LayerItem]:
        copy_argument = self._copy_parents if self._request.parents else self._copy_argument
        for source in (*self._request.sources, *self._request.files):
            match source:
                case InlineFile():
                    self._copy_inline(source)
                case TreeSource():
                    self._copy_tree(source)
                case text:
                    copy_argument(text)
        self._source.prepare(self._wanted)
        return self._plan.items()

    def _copy_argument(self, text: str) -> None:
        for path in find_sources(text, self._source, ignored=self._request.ignored):
            self._copy_path(path, None)

    def _copy_parents(self, text: str) -> None:
        root, pivot, pattern = text.partition("/./")
        if not pivot:
            root, pattern = "/", text
        if not has_wildcard(text):
            self._require(join(clean(root), clean(pattern)))
        for path in find_sources(root, self._source, ignored=self._request.ignored):
            self._copy_path(path, parents_pattern(pattern))

    def _require(self, path: str) -> None:
        if self._source.lookup(self._source.resolve(path)) is None:
            raise missing_source(path, self._request.ignored)

    def _copy_path(self, path: str, parents: IgnorePatterns | None) -> None:
        """Copy what a source path stands for; a symlink is followed inside the source's root."""
        followed = self._source.resolve(path)
        entry = self._source.lookup(followed)
        if entry is None:
            raise missing_source(path, self._request.ignored)
        if entry.kind is Kind.DIRECTORY:
            self._wanted += self._copy_directory(self._source, entry, parents)
            return
        open_content = partial(self._source.open, followed)
        if self._request.unpack and self._unpacked(entry, open_content):
            return
        if entry.kind is Kind.FILE:
            self._wanted.append(followed)
        place_file(self._plan, self._metadata.of(entry, self._file_target(path)), open_content)

    def _copy_tree(self, source: TreeSource) -> None:
        entry = source.tree.lookup(source.path)
        if entry is None:
            raise missing_source(source.path, None)
        source.tree.prepare(self._copy_directory(source.tree, entry, None))

    def _copy_directory(self, source: Tree, entry: Entry, parents: IgnorePatterns | None) -> list[str]:
        """Copy what is in it; gives the paths of the files whose content will be opened."""
        target = self._resolved_dest()
        if self._plan.lookup(target) is None:
            self._make_directories(target)
        filters = [each for each in (self._request.exclude, parents) if each is not None]
        walk = CopyWalk(source, self._plan, self._metadata, filters)
        return walk.copy(entry.path, target)

    def _copy_inline(self, file: InlineFile) -> None:
        mtime_ns = self._request.created_ns if file.mtime_ns is None else file.mtime_ns
        entry = Entry(
            path=name_of(clean(file.name)),
            kind=Kind.FILE,
            mode=file.mode,
            mtime_ns=mtime_ns,
            size=file.size,
        )
        if file.unpack and self._unpacked(entry, file.open_content):
            return
        place_file(self._plan, self._metadata.of(entry, self._file_target(entry.path)), file.open_content)

    def _unpacked(self, entry: Entry, open_content: Callable[[], BinaryIO]) -> bool:
        """Unpack an archive into the destination; False where this is none, or none is to be unpacked."""
        if self._spool is None or entry.kind is not Kind.FILE:
            return False
        archive = open_archive(open_content, self._spool)
        if archive is None:
            return False
        target = self._plan.resolve(clean(self._request.dest))
        self._plan.make_directories(target, owner=self._request.chown)
        plan_archive(archive, self._plan, target, owner=self._request.chown)
        return True

    def _file_target(self, path: str) -> str:
        """Where a source that is no directory goes: into a directory that is there, or else to the path."""
        target = self._resolved_dest()
        if self._plan.is_directory(target):
            target = join(target, name_of(clean(path)))
        self._make_directories(parent_of(target))
        return target

    def _resolved_dest(self) -> str:
        """The destination with its symlinks followed; made first where it is to be a directory."""
        dest = self._request.dest
        directory = dest if dest.endswith("/") else parent_of(dest)
        self._make_directories(self._plan.resolve(clean(directory)))
        return self._plan.resolve(clean(dest))

    def _make_directories(self, path: str) -> None:
        chmod = self._request.chmod
        mode = 0o755 if chmod is None else chmod.directory_mode
        self._plan.make_directories(path, mode=mode, owner=self._request.chown)
