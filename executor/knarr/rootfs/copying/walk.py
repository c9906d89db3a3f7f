"""A source directory copied into a plan."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, NamedTuple

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.ignore.states import IgnoreState
from knarr.errors import ContextError
from knarr.layers.entry import Entry, Kind
from knarr.layers.paths import join
from knarr.rootfs.copying.chmod import ModeChange
from knarr.rootfs.copying.sources import context_entry
from knarr.rootfs.layer_draft import LayerDraft, Owner
from knarr.rootfs.tree import Tree


@dataclass(frozen=True, slots=True)
class Metadata:
    """How what is copied differs from its source."""

    chown: Owner | None = None
    chmod: ModeChange | None = None
    keep_owner: bool = False

    def of(self, entry: Entry, path: str) -> Entry:
        """The entry as it is written at `path`; a symlink has no mode to change."""
        if not self.keep_owner:
            entry = context_entry(entry)
        owner = self.chown or Owner(entry.uid, entry.gid)
        mode = entry.mode
        if self.chmod is not None and entry.kind is not Kind.SYMLINK:
            mode = self.chmod.apply(mode, directory=entry.kind is Kind.DIRECTORY)
        return replace(entry, path=path, uid=owner.uid, gid=owner.gid, mode=mode)


@dataclass(slots=True)
class _Pending:
    """A directory of the source that is made when something in it is copied."""

    entry: Entry
    target: str
    made: bool


class _Step(NamedTuple):
    """One entry on its way, with what each filter says of it."""

    path: str
    target: str
    filters: tuple[IgnoreState, ...]

    def into(self, name: str) -> "_Step":
        """What has this name in this directory."""
        filters = tuple(each.into(name) for each in self.filters)
        return _Step(join(self.path, name), join(self.target, name), filters)


class CopyWalk:
    """The contents of one source directory on their way to a target that is there.

    Names of one file stay one file within this walk. A directory that is left out, but may have something in
    it that is not, is made once there is such a thing.
    """

    def __init__(
        self,
        source: Tree,
        plan: LayerDraft,
        metadata: Metadata,
        filters: Sequence[IgnorePatterns],
    ) -> None:
        """What any of the `filters` leaves out is not copied; they see paths relative to the directory."""
        self._source = source
        self._plan = plan
        self._metadata = metadata
        self._filters = tuple(each.start() for each in filters)
        self._scope = object()
        self._above: list[_Pending] = []
        self._wanted: list[str] = []

    def copy(self, directory: str, target: str) -> list[str]:
        """Copy what is in `directory`; gives the paths of the files whose content will be opened.

        The target keeps its owner and mode and takes the source's time.
        """
        entry = self._source.lookup(directory)
        self._refuse_file(target)
        self._copy_below(_Step(directory, target, self._filters))
        if entry is not None:
            self._plan.touch(target, entry.mtime_ns)
        return self._wanted

    def _copy_below(self, top: _Step) -> None:
        """Copy what is in a directory. Without recursion: an image may have any depth."""
        levels = [self._steps_in(top)]
        while levels:
            step = next(levels[-1], None)
            if step is None:
                levels.pop()
                if levels:
                    self._above.pop()
            elif self._copy_entry(step):
                levels.append(self._steps_in(step))

    def _steps_in(self, directory: _Step) -> Iterator[_Step]:
        return map(directory.into, self._source.children(directory.path))

    def _copy_entry(self, step: _Step) -> bool:
        """Copy one entry; true for a directory to go into, which is the last of those above then."""
        included = not any(state.excluded for state in step.filters)
        if not included and any(state.excluded and state.is_settled for state in step.filters):
            return False
        entry = self._source.lookup(step.path)
        if entry is None:
            return False
        if entry.kind is Kind.DIRECTORY:
            if included:
                self._make_above()
                self._put_directory(entry, step.target)
            self._above.append(_Pending(entry, step.target, made=included))
            return True
        if included:
            self._make_above()
            self._copy_file(entry, step.target)
        return False

    def _make_above(self) -> None:
        """Make the directories that were held back; one that is there takes the source's mode only."""
        for pending in self._above:
            if pending.made:
                continue
            there = self._plan.lookup(pending.target)
            if there is None:
                self._put_directory(pending.entry, pending.target)
            else:
                self._refuse_file(pending.target)
                if there.mode != pending.entry.mode:
                    self._plan.put(replace(there, mode=pending.entry.mode))
            pending.made = True

    def _put_directory(self, entry: Entry, target: str) -> None:
        self._refuse_file(target)
        there = self._plan.lookup(target)
        copied = self._metadata.of(entry, target)
        if there is not None and there.xattrs:
            copied = replace(copied, xattrs={**there.xattrs, **copied.xattrs})
        self._plan.put(copied)

    def _copy_file(self, entry: Entry, target: str) -> None:
        group: Hashable | None = None
        if entry.kind is Kind.FILE:
            self._wanted.append(entry.path)
            found = self._source.link_group(entry.path)
            group = None if found is None else (self._scope, found)
        place_file(
            self._plan, self._metadata.of(entry, target), partial(self._source.open, entry.path), group
        )

    def _refuse_file(self, target: str) -> None:
        entry = self._plan.lookup(target)
        if entry is not None and entry.kind is not Kind.DIRECTORY:
            raise ContextError(
                f"copying a directory to /{target}: what is there is no directory",
                hint="remove it in a RUN step before, or copy to another path",
            )


def place_file(
    plan: LayerDraft,
    entry: Entry,
    open_content: Callable[[], BinaryIO],
    group: Hashable | None = None,
) -> None:
    """Put a file, link or node in its place; raises ContextError where a directory is there."""
    if plan.is_directory(entry.path):
        raise ContextError(
            f"copying to /{entry.path}: a file can't replace the directory that is there",
            hint="name a path in the directory, or remove it in a RUN step before",
        )
    plan.put(entry, open_content if entry.kind is Kind.FILE else None, group=group)
