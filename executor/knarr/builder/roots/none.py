"""No isolation: builds without a RUN step that must run."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from knarr.builder.roots.backend import DirectoryRoot, LayerFiller, StepCommand
from knarr.errors import IsolationError
from knarr.exec.abilities import Abilities

_ABILITIES = Abilities(
    can_run=False, can_mount=False, single_id=False, overlay_userxattr=None, one_root=False
)


class NoBackend:
    """A backend that runs nothing; `refusal` is why, where something else was asked for."""

    def __init__(self, refusal: IsolationError | None = None) -> None:
        self._refusal = refusal or IsolationError(
            "a RUN step can't run without isolation",
            hint="--isolation=auto, or --isolation=namespace to see what is missing",
        )

    @property
    def abilities(self) -> Abilities:
        """None."""
        return _ABILITIES

    def require(self) -> NoReturn:
        """Raises IsolationError."""
        # A new one each time: who catches it adds to its message.
        raise IsolationError(self._refusal.message, hint=self._refusal.hint)

    def before_takeover(self, action: Callable[[], None]) -> None:
        """Nothing is ever replaced."""

    def trusts(self, program: Path | None) -> bool:
        """Every program is trusted: no step changes it."""
        return True

    def claim(self) -> None:
        """No stage has a directory."""

    def extract(self, place: Path, layers: LayerFiller, *, hash_content: bool) -> DirectoryRoot:
        """Raises IsolationError: nothing that needs a directory can be done."""
        self.require()

    def run(self, root: Path, command: StepCommand) -> None:
        """Raises IsolationError."""
        self.require()

    def close(self) -> None:
        """There is nothing to undo."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass
