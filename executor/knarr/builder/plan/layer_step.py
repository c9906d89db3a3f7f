"""A step that makes a layer, before it is known whether it must: what it depends on, how it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from knarr.builder.cache.keys import Part
from knarr.builder.plan.stage import StageBuild
from knarr.images.image import Layer
from knarr.rootfs.copy import CopyRequest

Inputs = tuple[Part, ...]


class UnknownInputsError(Exception):
    """What a step depends on can't be told without doing work first."""


class SourceKeys(Protocol):
    """Keys of what steps take from outside their stage; UnknownInputsError for one that needs work first."""

    def context(self, request: CopyRequest) -> str:
        """Of what a COPY takes from the build context."""
        ...

    def named(self, name: str, before: int, request: CopyRequest, *, numbered: bool) -> str:
        """Of what it takes from `--from=name` in the stage of index `before`; a mount's name is no number."""
        ...


@dataclass(frozen=True, slots=True)
class LayerStep:
    """One COPY, ADD, WORKDIR or RUN of a stage; good until the stage goes on to the next instruction.

    `inputs` is all that the layer depends on besides what lies below it. `make` does the work.
    """

    created_by: str
    inputs: Callable[[SourceKeys], Inputs]
    make: Callable[[StageBuild], Layer]
    is_run: bool
    """Whether `--cache-run-layers` is about it (RUN, WORKDIR), else `--cache-copy-layers`."""
    prepare: Callable[[], None] | None = None
    """Fetches what `inputs` can't tell before; what it fetched is good for `make`, and gone by `release`."""
    release: Callable[[], None] = lambda: None
