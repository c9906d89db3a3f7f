"""The cache as the steps of a build see it: keys planned ahead, verdicts, layers kept."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.keys import base_key, state_key, step_key
from knarr.builder.cache.layer_cache import LayerCache, Verdict
from knarr.builder.cache.source_keys import (
    ContentKeys,
    FilesSource,
    FixedSource,
    NamedSource,
    stage_paths_key,
)
from knarr.builder.plan.layer_step import Inputs, LayerStep, SourceKeys, UnknownInputsError
from knarr.images.image import Image, Layer, OpenLayer
from knarr.rootfs.copy import CopyRequest
from knarr.rootfs.tree import Tree


@dataclass(frozen=True, slots=True)
class CacheRules:
    """What is looked up and kept."""

    run_layers: bool = True
    copy_layers: bool = False

    def cover(self, step: LayerStep) -> bool:
        """Whether a step's layer is the cache's business."""
        return self.run_layers if step.is_run else self.copy_layers


@dataclass(frozen=True, slots=True)
class CacheState:
    """Where a stage is, for the cache: `key` by what was said so far, `state` by what there is.

    `key` is None after a step whose inputs are not known before its work is done.
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
    """What the cache says of one step, and where the stage would be after it."""

    entry: CacheEntry | None = None
    reason: str = ""
    inputs: Inputs | None = None
    key: str | None = None
    is_repeatable: bool = True

    def after(self, position: CacheState, step: LayerStep, layer: Layer | None) -> CacheState:
        """The position behind the step; without its layer the state may be unknown, which is ""."""
        below = position.state
        is_process = step.is_run or self.inputs is None
        if not below or (is_process and layer is None):
            state = ""
        elif is_process and layer is not None:
            state = state_key(below, layer.diff_id)
        else:
            state = state_key(below, self.inputs or ())
        return CacheState(self.key, state, position.is_repeatable and self.is_repeatable)


class StageFiles(Protocol):
    """Ways to the files of the stages, made or still to be made."""

    def build(self, index: int) -> None:
        """Build a stage as far as the cache lacks it."""
        ...

    def tree(self, index: int) -> Tree:
        """Its files; it is built where it isn't yet."""
        ...


class StepCache:
    """One build's view of the cache."""

    def __init__(
        self,
        cache: LayerCache,
        rules: CacheRules,
        *,
        created_s: int,
        context: FilesSource,
        resolve: Callable[[str, int, bool], NamedSource],
        open_layer: OpenLayer,
    ) -> None:
        self._cache = cache
        self._rules = rules
        self._created_s = created_s
        self._context = context
        self._resolve = resolve
        self._open_layer = open_layer
        self._contents = ContentKeys()
        self._stage_keys: dict[int, str] = {}

    def ask(self, keys: Iterable[str]) -> None:
        """Begin to look keys up."""
        self._cache.ask(keys)

    def know_stage(self, index: int, position: CacheState) -> None:
        """Remember the key of a whole stage, but of none that is to be run each time."""
        if position.key is not None and position.is_repeatable:
            self._stage_keys[index] = position.key

    def planned_key(self, position: CacheState, step: LayerStep) -> CacheState:
        """The position behind a step as far as it is known before any work; asks the cache for it."""
        if position.key is None:
            return position
        try:
            inputs = step.inputs(self._keys(None))
        except UnknownInputsError:
            return CacheState(None, position.state)
        key = step_key(position.key, inputs)
        if self._rules.cover(step):
            self._cache.ask([key])
        return CacheState(key, position.state, position.is_repeatable and self._is_repeatable(step))

    def verdict(self, position: CacheState, step: LayerStep, files: StageFiles) -> StepVerdict:
        """What the cache says of a step; fetches what the step needs fetched to be known.

        Raises KnarrError for what the step needs; never for the cache.
        """
        return self._judged(position, step, self._inputs(step, files))

    def foreseen(self, position: CacheState, step: LayerStep) -> StepVerdict | None:
        """The same without any work; None where it takes some to be known."""
        if position.key is None or not position.state:
            return None
        try:
            inputs = step.inputs(self._keys(None))
        except UnknownInputsError:
            return None
        return self._judged(position, step, inputs)

    def _judged(self, position: CacheState, step: LayerStep, inputs: Inputs) -> StepVerdict:
        assert position.key is not None, "all inputs are known by the time of a step"
        key, is_repeatable = step_key(position.key, inputs), self._is_repeatable(step)
        if not self._rules.cover(step):
            flag = "--cache-run-layers" if step.is_run else "--cache-copy-layers"
            return StepVerdict(None, f"not asked for ({flag})", inputs, key, is_repeatable)
        verdict: Verdict = self._cache.verdict(key, below=position.state)
        entry = verdict.entry if verdict.entry is not None and verdict.entry.layer is not None else None
        return StepVerdict(entry, verdict.reason, inputs, key, is_repeatable)

    def distrust(self, key: str, why: str) -> None:
        """Use the entry of a key no more."""
        self._cache.distrust(key, why)

    def keep(self, position: CacheState, step: LayerStep, verdict: StepVerdict, layer: Layer) -> None:
        """Keep what a step made, where that is asked for."""
        if verdict.key is not None and self._rules.cover(step):
            entry = CacheEntry(layer, verdict.key, position.state, self._created_s)
            self._cache.keep(entry, self._open_layer)

    def _is_repeatable(self, step: LayerStep) -> bool:
        return self._rules.run_layers or not step.is_run

    def _inputs(self, step: LayerStep, files: StageFiles) -> Inputs:
        keys = self._keys(files)
        try:
            return step.inputs(keys)
        except UnknownInputsError:
            assert step.prepare is not None
            step.prepare()
            return step.inputs(keys)

    def _keys(self, files: StageFiles | None) -> SourceKeys:
        def of_stage(index: int, request: CopyRequest) -> str:
            return self._of_stage(index, request, files)

        return _Keys(self._contents, self._context, self._resolve, of_stage)

    def _of_stage(self, index: int, request: CopyRequest, files: StageFiles | None) -> str:
        """The key of a stage's files at some paths: remembered by the cache, or read from the stage."""
        if index not in self._stage_keys and files is not None:
            files.build(index)
        stage_key = self._stage_keys.get(index)
        paths_key = stage_paths_key(stage_key, request) if stage_key is not None else None
        if paths_key is not None:
            verdict = self._cache.verdict(paths_key, below="")
            if verdict.entry is not None and verdict.entry.content:
                return verdict.entry.content
        if files is None:
            raise UnknownInputsError
        content = self._contents.of_stage(index, files.tree(index), request)
        if paths_key is not None:
            entry = CacheEntry(None, paths_key, "", self._created_s, content)
            self._cache.keep(entry, self._open_layer)
        return content


class _Keys:
    """Keys of sources, in the form that steps ask for."""

    def __init__(
        self,
        contents: ContentKeys,
        context: FilesSource,
        resolve: Callable[[str, int, bool], NamedSource],
        of_stage: Callable[[int, CopyRequest], str],
    ) -> None:
        self._contents = contents
        self._context = context
        self._resolve = resolve
        self._of_stage = of_stage

    def context(self, request: CopyRequest) -> str:
        return self._contents.of_files(self._context, request)

    def named(self, name: str, before: int, request: CopyRequest, *, numbered: bool) -> str:
        match self._resolve(name, before, numbered):
            case FixedSource(key):
                return key
            case FilesSource() as files:
                return self._contents.of_files(files, request)
            case stage:
                return self._of_stage(stage.index, request)
