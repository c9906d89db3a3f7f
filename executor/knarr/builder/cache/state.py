"""Where a stage is for the cache, and what the cache says of its next step."""

from collections.abc import Iterable
from dataclasses import dataclass

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.keys import base_key, state_key
from knarr.builder.plan.steps import Inputs, LayerStep
from knarr.images.image import Image, Layer


@dataclass(frozen=True, slots=True)
class CacheState:
    """Where a stage is: `key` by what was said so far, `state` by what there is.

    `key` is None after a step whose inputs are not known before its work is done. `state` is "" where it is
    not known yet.
    """

    key: str | None
    state: str
    is_repeatable: bool = True
    """Whether what there is may be what there was when the key was the same; else it is made each time."""

    @classmethod
    def of_base(cls, image: Image, rules: Iterable[str] = ()) -> "CacheState":
        """A stage before its first step; `rules` as in `base_key`."""
        key = base_key((layer.diff_id for layer in image.layers), str(image.config.platform), rules)
        return cls(key, key)


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """What the cache says of one step: an entry, or the reason why there is none to use."""

    entry: CacheEntry | None = None
    reason: str = ""
    inputs: Inputs | None = None
    key: str | None = None
    is_repeatable: bool = True

    @property
    def layer(self) -> Layer | None:
        """The layer that the cache has."""
        return self.entry.layer if self.entry is not None else None

    def after(self, before: CacheState, step: LayerStep, layer: Layer | None) -> CacheState:
        """The state behind the step; without its layer what there is may be unknown."""
        is_process = step.is_run or self.inputs is None
        if not before.state or (is_process and layer is None):
            state = ""
        elif is_process and layer is not None:
            state = state_key(before.state, layer.diff_id)
        else:
            state = state_key(before.state, self.inputs or ())
        return CacheState(self.key, state, before.is_repeatable and self.is_repeatable)
