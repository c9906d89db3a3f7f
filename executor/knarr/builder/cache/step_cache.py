"""The cache as the steps of a build see it: keys asked for ahead, verdicts, layers kept."""

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.input_keys import InputKeys
from knarr.builder.cache.keys import step_key
from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.state import CacheState, StepVerdict
from knarr.builder.plan.plan import StagePlan
from knarr.builder.plan.steps import Inputs, LayerStep
from knarr.builder.request.cache_settings import CacheRules
from knarr.images.image import Layer


class StepCache:
    """One build's view of the cache."""

    def __init__(
        self,
        cache: LayerCache,
        rules: CacheRules,
        keys: InputKeys,
        *,
        base_parts: tuple[str, ...],
        created_s: int,
    ) -> None:
        """`base_parts` is what makes all layers of the build other than usual."""
        self._cache = cache
        self._rules = rules
        self._base_parts = base_parts
        self._created_s = created_s
        self.keys = keys

    def first_state(self, stage: StagePlan) -> CacheState:
        """A stage on an image, before its first step."""
        return CacheState.of_base(stage.base, self._base_parts)

    def ask(self, before: CacheState, step: LayerStep) -> CacheState:
        """Begin to look a step up; the result is the state behind it, as far as its key is known."""
        inputs = self.keys.inputs(step) if before.key is not None else None
        if before.key is None or inputs is None:
            return CacheState(None, before.state)
        key = step_key(before.key, inputs)
        if self._rules.cover(is_run=step.is_run) and not step.is_fresh:
            self._cache.ask([key])
        return CacheState(key, before.state, before.is_repeatable and self._is_repeatable(step))

    def foresee(self, before: CacheState, step: LayerStep) -> StepVerdict | None:
        """What the cache says of a step; None where it takes work to be known. Never raises for the cache."""
        if before.key is None or not before.state:
            return None
        inputs = self.keys.inputs(step)
        return self.judge(before, step, inputs) if inputs is not None else None

    def judge(self, before: CacheState, step: LayerStep, inputs: Inputs) -> StepVerdict:
        """The same for a step whose inputs are known."""
        assert before.key is not None, "all inputs are known by the time of a step"
        key, is_repeatable = step_key(before.key, inputs), self._is_repeatable(step)
        if not self._rules.cover(is_run=step.is_run):
            flag = "--cache-run-layers" if step.is_run else "--cache-copy-layers"
            return StepVerdict(None, f"not asked for ({flag})", inputs, key, is_repeatable)
        if step.is_fresh:
            return StepVerdict(None, "not looked up (--no-cache-filter)", inputs, key, is_repeatable)
        verdict = self._cache.verdict(key, below=before.state)
        entry = verdict.entry if verdict.entry is not None and verdict.entry.layer is not None else None
        return StepVerdict(entry, verdict.reason, inputs, key, is_repeatable)

    def keep(self, before: CacheState, step: LayerStep, verdict: StepVerdict, layer: Layer) -> None:
        """Keep what a step made, where that is asked for."""
        if verdict.key is not None and self._rules.cover(is_run=step.is_run):
            self._cache.keep(CacheEntry(layer, verdict.key, before.state, self._created_s))

    def _is_repeatable(self, step: LayerStep) -> bool:
        return not step.is_fresh and (self._rules.run_layers or not step.is_run)
