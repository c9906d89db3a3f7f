"""The protocol of an isolation: directories for stages, processes in them, an end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from knarr.exec.abilities import Abilities
from knarr.exec.spec import Network, RootMount
from knarr.layers.entry import LayerItem
from knarr.layers.tar.read import TarReader
from knarr.rootfs.mount_points import MountPoint
from knarr.rootfs.tree import Tree
from knarr.rootfs.users import UserSpec

__all__ = ["Abilities", "Backend", "DirectoryRoot", "LayerFiller", "Process", "StepCommand", "WriteLayer"]

Process = Callable[[Path], None]
"""Runs something in the root file system at a path."""
WriteLayer = Callable[[TarReader], None]
"""Writes one layer on top of what a root file system has."""
LayerFiller = Callable[[WriteLayer], None]
"""Calls what it is given with each layer that it has, the lowest first."""


@dataclass(frozen=True, slots=True)
class StepCommand:
    """What a RUN step executes, as whom, where."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    user: UserSpec
    network: Network = "default"
    mounts: tuple[RootMount, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    """Names with their addresses, beside those of the machine."""
    shm_bytes: int | None = None
    limits: tuple[tuple[str, int, int], ...] = ()


class DirectoryRoot(Protocol):
    """A root file system on disk."""

    @property
    def is_lost(self) -> bool:
        """Whether another stage has taken the directory; then nothing here may be used any more."""
        ...

    def child(self, place: Path) -> "DirectoryRoot | None":
        """A root that starts where this one is now, with its files at `place`; None where that is no cheaper.

        Where there is one directory for all, the child takes it, and this one has lost it.
        """
        ...

    def tree(self) -> Tree:
        """What is there now; valid until the next step."""
        ...

    def directory(self) -> Path:
        """Where what is there now can be seen; valid until the next step, not to be written to."""
        ...

    def apply(self, fill: LayerFiller) -> None:
        """Write layers that exist already on top. Raises KnarrError, with a part of them written."""
        ...

    def run(self, process: Process, mount_points: Sequence[MountPoint] = ()) -> list[LayerItem]:
        """Let a process change it; the result is the changes, their contents good until the next step.

        `mount_points` are made where they are missing; they never show in the changes.
        """
        ...

    def close(self) -> None:
        """Unmount, close; the files stay. May be called again."""
        ...


class Backend(Protocol):
    """An isolation that this process has entered; as a context manager it is closed at the end."""

    @property
    def abilities(self) -> Abilities:
        """What can be done here."""
        ...

    def require(self) -> None:
        """Raises IsolationError, with the reason and a hint, where no RUN step can run."""
        ...

    def before_takeover(self, action: Callable[[], None]) -> None:
        """Have something done before files of this process's own surroundings are replaced, if ever."""
        ...

    def trusts(self, program: Path | None) -> bool:
        """Whether a program will be what it is now after steps have run; None is no program, and trusted."""
        ...

    def claim(self) -> None:
        """A stage will need a directory soon: where there is only one, the stage that has it loses it."""
        ...

    def extract(self, place: Path, layers: LayerFiller, *, hash_content: bool) -> DirectoryRoot:
        """A directory with the files of the layers, below `place` where there is one for each stage.

        Every scan for changes reads all files with `hash_content`. Raises KnarrError; what is half done then
        is removed with `place`, or by `close`.
        """
        ...

    def run(self, root: Path, command: StepCommand) -> None:
        """Run a command in a root file system; its output goes to stderr, unaltered.

        Raises RunError where it fails, IsolationError where it can't be run here.
        """
        ...

    def close(self) -> None:
        """Undo what was done to this process's surroundings; may be called again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `close`; but nothing is given back to a container that is about to end."""
        ...
