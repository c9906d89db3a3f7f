"""A backend without a kernel's help: steps are Python functions that change a plain directory.

As an ordinary user owners are recorded in extended attributes, and what a step makes is recorded as root's,
as in a user namespace with one id; symbolic links stay the user's own.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from knarr.builder.roots.backend import Abilities, LayerFiller, LayersOf, Process, StepCommand
from knarr.builder.roots.namespace.plain_root import PlainRoot
from knarr.errors import IsolationError, RunError
from knarr.layers.entry import LayerItem
from knarr.rootfs.inode import OWNER_XATTR
from knarr.rootfs.mount_points import MountPoint
from knarr.rootfs.tree import Tree
from knarr.rootfs.unpacking.unpack import OwnerPolicy

PLAIN = Abilities(can_run=True, can_mount=False, single_id=True, overlay_userxattr=None, one_root=False)
ONE_ROOT = Abilities(can_run=True, can_mount=False, single_id=True, overlay_userxattr=None, one_root=True)
NO_RUN = Abilities(can_run=False, can_mount=False, single_id=True, overlay_userxattr=None, one_root=False)

Step = Callable[[Path], object]
Run = Callable[[Path, StepCommand], None]


class FakeBackend:
    """Steps by what they execute, or one function for all; roots lie below `place`.

    A step that is not in the mapping ends with status 127. `ran` has the commands in their order, `events`
    what was asked for: claim, extract, run, close.
    """

    def __init__(
        self, steps: Mapping[tuple[str, ...], Step] | Run, place: Path, abilities: Abilities = PLAIN
    ) -> None:
        self._steps = steps
        self._place = place
        self._abilities = abilities
        self._numbers = count()
        self._holder: FakeRoot | None = None
        self._actions: list[Callable[[], None]] = []
        self.ran: list[StepCommand] = []
        self.events: list[str] = []

    @property
    def abilities(self) -> Abilities:
        return self._abilities

    def require(self) -> None:
        if not self._abilities.can_run:
            raise IsolationError("a RUN step can't run here", hint="it is a fake")

    def before_takeover(self, action: Callable[[], None]) -> None:
        """Done before the first extraction, where there is one root."""
        self._actions.append(action)

    def trusts(self, program: Path | None) -> bool:
        return program is None or not self._abilities.one_root

    def claim(self) -> None:
        self.events.append("claim")
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def extract(self, place: Path, layers: LayerFiller, *, hash_content: bool) -> "FakeRoot":
        """A directory below the backend's own place: the stage's may be missing."""
        if self._abilities.one_root:
            self.claim()
            while self._actions:
                self._actions.pop(0)()
        self.events.append("extract")
        root = PlainRoot.extract(
            self._place / f"root{next(self._numbers)}",
            layers,
            owner_policy=OwnerPolicy.KEEP if os.geteuid() == 0 else OwnerPolicy.RECORD,
            hash_content=hash_content,
        )
        _record_owners(root.directory())
        return self._lend(root)

    def run(self, root: Path, command: StepCommand) -> None:
        self.events.append("run")
        self.ran.append(command)
        if callable(self._steps):
            self._steps(root, command)
            return
        step = self._steps.get(command.argv)
        if step is None:
            raise RunError(f"no such step: {command.argv}", status=127)
        step(root)

    def close(self) -> None:
        self.events.append("close")
        self.claim()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _lend(self, root: PlainRoot) -> "FakeRoot":
        lent = FakeRoot(root, self._lend if self._abilities.one_root else None)
        if self._abilities.one_root:
            self._holder = lent
        return lent


class FakeRoot:
    """A plain directory; with `lend` it is the only one, and a child takes it over."""

    def __init__(self, root: PlainRoot, lend: Callable[[PlainRoot], "FakeRoot"] | None) -> None:
        self._root = root
        self._lend = lend
        self._is_lost = False

    @property
    def is_lost(self) -> bool:
        return self._is_lost

    def child(self, place: Path) -> "FakeRoot | None":
        if self._lend is None:
            return None
        self._is_lost = True
        return self._lend(self._root)

    def tree(self) -> Tree:
        assert not self._is_lost
        return self._root.tree()

    def directory(self) -> Path:
        return self._root.directory()

    def apply(self, fill: LayerFiller) -> None:
        assert not self._is_lost
        self._root.apply(fill)
        _record_owners(self._root.directory())

    def run(
        self, process: Process, mount_points: Sequence[MountPoint] = (), layers: LayersOf | None = None
    ) -> list[LayerItem]:
        assert not self._is_lost

        def recorded(root: Path) -> None:
            process(root)
            _record_owners(root)

        return self._root.run(recorded, mount_points, layers)

    def close(self) -> None:
        """Where there is one directory, this one has lost it."""
        if not self._is_lost:
            self._root.close()
            self._is_lost = self._lend is not None


def _record_owners(root: Path) -> None:
    """Let files and directories without a recorded owner be root's."""
    if os.geteuid() == 0:
        return
    for directory, _, names in os.walk(root):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            with suppress(OSError):  # one that has an owner, a link, a file that must not be written to
                os.setxattr(path, OWNER_XATTR, b"0:0", os.XATTR_CREATE, follow_symlinks=False)
