"""The backend of a container of ours: stages take turns with the root directory that this process is in."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from knarr.builder.roots.backend import LayerFiller, StepCommand
from knarr.builder.roots.inplace.container import Container
from knarr.builder.roots.inplace.root import ImageFiles, InplaceRoot
from knarr.builder.roots.step_process import launch_step, run_spec
from knarr.errors import IsolationError
from knarr.exec.abilities import Abilities
from knarr.exec.bundle import BUNDLE, CONFIGURATION, own_directories
from knarr.exec.namespaces import stay
from knarr.progress import Reporter


class InplaceBackend:
    """The one root directory, lent to a stage at a time; `close` puts back what it held before all.

    Never touched: what is mounted in it, this program, and `kept` with all below. An empty volume may be the
    image's meanwhile, unless one of `outputs` is to be in it.
    """

    def __init__(
        self,
        work_dir: Path,
        kept: Iterable[Path],
        reporter: Reporter,
        root: Path = Path("/"),
        *,
        outputs: Iterable[Path] = (),
    ) -> None:
        self._root = root
        self._aside = work_dir / "aside"
        self._container = Container(root, work_dir, (*_lasting(), *kept), reporter, outputs)
        self._holder: InplaceRoot | None = None
        self._abilities = Abilities(
            can_run=True,
            can_mount=False,
            single_id=stay().single_id,
            overlay_userxattr=None,
            one_root=True,
        )

    @property
    def abilities(self) -> Abilities:
        """What a container allows that was given no privilege."""
        return self._abilities

    def require(self) -> None:
        """RUN steps can run."""

    def before_takeover(self, action: Callable[[], None]) -> None:
        """Have something done before the container's files are replaced."""
        self._container.before_takeover(action)

    def trusts(self, program: Path | None) -> bool:
        """Whether a program lies where no image and no step can replace it."""
        return program is None or any(program.is_relative_to(each) for each in _lasting())

    def claim(self) -> None:
        """Take the directory from the stage that has it."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def extract(self, place: Path, layers: LayerFiller, *, hash_content: bool) -> InplaceRoot:
        """Empty the root directory, then fill it; the stage that had it has lost it."""
        self.claim()
        protection = self._container.make_room()
        image = ImageFiles(self._root, protection, self._container.warn_of_hidden, hash_content=hash_content)
        image.write(layers)
        return self._lend(image)

    def run(self, root: Path, command: StepCommand) -> None:
        """Run a command in the root directory, for the stage that has it. Raises RunError, IsolationError."""
        if command.network == "none":
            raise IsolationError(
                "RUN --network=none can't be run in place", hint="it needs namespaces: --isolation=namespace"
            )
        for flag, is_given in {"--add-host": command.hosts, "--shm-size": command.shm_bytes}.items():
            if is_given:
                raise IsolationError(
                    f"{flag} is not possible in place: the container's own file or mount is used",
                    hint="give it to the container, or build with --isolation=namespace",
                )
        assert self._holder is not None, "a step runs in a directory that its stage has"
        spec = dataclasses.replace(run_spec(root, command), pid_namespace=False, in_place=True)
        with self._holder.step(command.working_dir, command.mounts, self._aside):
            launch_step(spec)

    def close(self) -> None:
        """Give the container its own files back, where an image took their place; may be called again."""
        self.claim()
        self._container.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `close`; but nothing is given back to a container that is about to end."""
        self.claim()
        self._container.end(error)

    def _lend(self, image: ImageFiles) -> InplaceRoot:
        self.claim()
        self._holder = InplaceRoot(image, self._lend)
        return self._holder


def _lasting() -> tuple[Path, ...]:
    """Directories that no build in place touches."""
    return (BUNDLE, CONFIGURATION, *own_directories())
