"""One stage while it is built: its layers so far, its root file system."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from knarr.builder.cache.state import CacheState
from knarr.builder.plan.plan import StagePlan
from knarr.builder.plan.steps import Step
from knarr.builder.roots.stage_root import StageRoot
from knarr.images.image import Image, Layer


@dataclass(slots=True)
class StageWork:
    """The one thing that changes while a stage is built; the executor alone changes it."""

    plan: StagePlan
    layers: list[Layer] = field(default_factory=list)
    state: CacheState = field(default=CacheState(None, ""))
    """Where the stage is for the cache."""
    opened: StageRoot | None = None
    """Its files; None before a step must be carried out."""
    is_finished: bool = False
    is_planned: bool = True
    """Whether the decisions that were made before all work still hold."""

    @property
    def root(self) -> StageRoot:
        """Its files; opened already wherever something asks."""
        assert self.opened is not None
        return self.opened

    @property
    def image(self) -> Image:
        """The finished stage as an image."""
        assert self.is_finished
        return self.plan.image(tuple(self.layers))

    def begin(self, layers: Iterable[Layer], state: CacheState) -> None:
        """Start from these layers."""
        self.layers = list(layers)
        self.state = state
        self.opened = None

    def restart(self) -> None:
        """Forget what was taken from the cache: the stage is built anew, judged anew."""
        self.is_finished = self.is_planned = False

    def rest(self, step: Step) -> tuple[Step, ...]:
        """The steps from this one on."""
        return self.plan.steps[step.number - 1 :]
