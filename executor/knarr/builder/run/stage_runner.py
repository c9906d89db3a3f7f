"""Builds stages: each instruction in turn, from the cache where it has the layer."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from knarr.builder.cache.adopted import AdoptedLayers, DamagedEntryError
from knarr.builder.cache.step_cache import CacheState, StepCache, StepVerdict
from knarr.builder.plan.layer_step import LayerStep
from knarr.builder.plan.plan import BuildPlan, parent_index
from knarr.builder.plan.stage import Settings, StageBuild, located
from knarr.builder.plan.steps import take
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.backend import Backend
from knarr.builder.roots.stage_root import StageRoot
from knarr.builder.run.step_events import StepEvents
from knarr.dockerfile.language.instructions import Instruction, Run
from knarr.dockerfile.stages.stages import PlannedStage
from knarr.errors import KnarrError
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.progress import CacheJudged, Reporter, StageEnded, StageStarted
from knarr.rootfs.tree import Tree

OnLayer = Callable[[Layer], None]


class StageRunner:
    """The stages of one build, each built when something needs it.

    Without a cache that is the order of the file. With one, a stage whose consumers are all cached is
    never built.
    """

    def __init__(
        self,
        plan: BuildPlan,
        stages: tuple[PlannedStage, ...],
        settings: Settings,
        blobs: Blobs,
        backend: Backend,
        cache: StepCache | None,
        reporter: Reporter,
        finished: dict[int, StageBuild],
        *,
        snapshots: SnapshotRules,
        is_read: Callable[[Layer], bool],
    ) -> None:
        """`is_read` tells whether an output will read a cached layer of the target."""
        self._plan = plan
        self._planned = {each.stage.index: each for each in stages}
        self._settings = settings
        self._blobs = blobs
        self._backend = backend
        self._snapshots = snapshots
        self._cache = cache
        self._reporter = reporter
        self._opened: list[StageRoot] = []
        self._positions: dict[int, CacheState] = {}
        self._adopted = AdoptedLayers(blobs, cache.distrust) if cache is not None else None
        self._is_read = is_read
        self._target: int | None = None
        self.finished = finished

    def plan_keys(self) -> None:
        """Compute the keys of all steps as far as they are known before work, and look them up."""
        if self._cache is None:
            return
        for index, position in self.walk(self._located_key):
            self._cache.know_stage(index, position)

    def walk(
        self,
        on_step: Callable[[Instruction, LayerStep, CacheState], CacheState],
        on_stage: Callable[[PlannedStage], None] = lambda _: None,
        on_config: Callable[[Instruction], None] = lambda _: None,
    ) -> Iterator[tuple[int, CacheState]]:
        """The stages in the order of the file, with the position at each one's end; only configs are made.

        `on_step` gets an instruction that makes a layer, where the stage is, says where it is behind it.
        """
        ends: dict[int, tuple[StageBuild, CacheState]] = {}
        for index, planned in self._planned.items():
            parent = parent_index(planned)
            stage, position = self._first(planned, ends[parent] if parent is not None else None)
            on_stage(planned)
            for instruction in planned.instructions:
                step = self._take(stage, instruction)
                if step is None:
                    on_config(instruction)
                else:
                    position = on_step(instruction, step, position)
            ends[index] = stage, position
            yield index, position

    def build(self, index: int, on_layer: OnLayer = lambda _: None) -> StageBuild:
        """Build a stage that is not built yet, those it starts from first; Raises KnarrError."""
        self._target = index
        if self._cache is None:
            for each in [other for other in self._planned if other < index]:
                self._build(each, lambda _: None)
        return self._build(index, on_layer)

    def close(self) -> None:
        """Unmount and close; may be called again."""
        for root in self._opened:
            root.close()

    def _build(self, index: int, on_layer: OnLayer) -> StageBuild:
        while index not in self.finished:
            try:
                self._attempt(index, on_layer)
            except DamagedEntryError as error:  # nothing was made on it yet; its entry is not used again
                self._forget(index, error.layer)
        return self.finished[index]

    def _attempt(self, index: int, on_layer: OnLayer) -> None:
        planned = self._planned[index]
        parent = parent_index(planned)
        before = None
        if parent is not None:
            before = self._build(parent, lambda _: None), self._positions[parent]
        stage, position = self._first(planned, before)
        stage.on_layer = on_layer
        for layer in stage.image.layers:
            on_layer(layer)
        from_ = planned.stage.from_
        self._reporter.report(StageStarted(index, stage.name, from_.image, from_.location.line))
        try:
            for number, instruction in enumerate(planned.instructions, start=1):
                try:
                    position = self._carry_out(stage, planned, number, position)
                except KnarrError as error:
                    raise located(error, instruction) from error
        except DamagedEntryError:
            self._reporter.report(StageEnded(index))
            raise
        if stage.opened is None:
            self._open(stage, planned, will_run=False)
        stage.root.finish()
        self._positions[index] = position
        self.finished[index] = stage
        if self._cache is not None:
            self._cache.know_stage(index, position)
        self._reporter.report(StageEnded(index))

    def ready(self, index: int) -> StageBuild:
        """A stage that is built, whose files can be read. Raises KnarrError."""
        while True:
            stage = self._build(index, lambda _: None)
            try:
                self._check(stage.image.layers)
            except DamagedEntryError as error:
                self._forget(index, error.layer)
            else:
                return stage

    def build_source(self, index: int) -> None:
        """Build a stage as far as the cache lacks it; its files need not be readable. Raises KnarrError."""
        self._build(index, lambda _: None)

    def _forget(self, index: int, layer: Layer) -> None:
        """Build a stage anew because of a layer that can't be read, with the stages below that have it too.

        None of them has made anything: what lies on the layer comes from the cache too.
        """
        here: int | None = index
        while here is not None:
            stage = self.finished.get(here)
            if stage is not None and layer not in stage.image.layers:
                return
            self.finished.pop(here, None)
            here = parent_index(self._planned[here])

    def _check(self, layers: Iterable[Layer]) -> None:
        if self._adopted is not None:
            self._adopted.check(layers)

    def _carry_out(
        self, stage: StageBuild, planned: PlannedStage, number: int, position: CacheState
    ) -> CacheState:
        """One instruction. Other stages that it needs are built before it is said to start."""
        instruction = planned.instructions[number - 1]
        started = StepEvents(self._reporter, stage.name, instruction, number, len(planned.instructions))
        try:
            step = take(stage, instruction)
            if step is None:
                started.end(None)
                return position
            try:
                layer, verdict = self._take_or_make(stage, planned, step, started, position)
            finally:
                step.release()
        finally:
            started.report()
        stage.add_layer(layer, step.created_by)
        started.end(layer)
        return verdict.after(position, step, layer)

    def _take_or_make(
        self,
        stage: StageBuild,
        planned: PlannedStage,
        step: LayerStep,
        started: StepEvents,
        position: CacheState,
    ) -> tuple[Layer, StepVerdict]:
        if step.prepare is not None:
            started.report()  # it may download for long
        verdict = self._verdict(stage, step, started, position)
        cached = verdict.entry.layer if verdict.entry is not None else None
        if cached is not None:
            started.report()
            if stage.opened is not None:
                stage.root.apply_cached(cached)
            return cached, verdict
        if isinstance(planned.instructions[started.number - 1], Run):
            self._backend.require()  # before anything is pulled for it
        self._open_for(stage, planned, started.number)
        started.report()
        layer = step.make(stage)
        if self._cache is not None:
            self._cache.keep(position, step, verdict, layer)
        return layer, verdict

    def _verdict(
        self, stage: StageBuild, step: LayerStep, started: StepEvents, position: CacheState
    ) -> StepVerdict:
        if self._cache is None:
            return StepVerdict()
        verdict = self._cache.verdict(position, step, _Files(self))
        while verdict.entry is not None and not self._is_usable(stage, verdict):
            verdict = self._cache.verdict(position, step, _Files(self))
        is_hit = verdict.entry is not None
        self._reporter.report(CacheJudged(stage.index, started.number, started.text, is_hit, verdict.reason))
        return verdict

    def _is_usable(self, stage: StageBuild, verdict: StepVerdict) -> bool:
        """Whether a cached layer is whole, as far as somebody is to read it soon."""
        assert self._adopted is not None
        assert verdict.entry is not None
        assert verdict.key is not None
        layer = verdict.entry.layer
        assert layer is not None
        self._adopted.add(layer, verdict.key)
        if stage.opened is None and not (stage.index == self._target and self._is_read(layer)):
            return True
        try:
            self._check([layer])
        except DamagedEntryError:
            return False
        return True

    def _open_for(self, stage: StageBuild, planned: PlannedStage, number: int) -> None:
        """Have ready what step `number` needs: what it copies from, the root file system.

        A build in place has one directory for all: there, what later steps copy from is built before.
        """
        rest = planned.instructions[number - 1 :]
        if self._cache is not None:
            is_alone = not self._backend.abilities.one_root or stage.opened is not None
            for index in self._plan.source_stages(planned, rest[:1] if is_alone else rest):
                self.ready(index)
        if stage.opened is None:
            self._check(stage.image.layers)
            will_run = self._backend.abilities.can_run and any(isinstance(each, Run) for each in rest)
            self._open(stage, planned, will_run=will_run)

    def _open(self, stage: StageBuild, planned: PlannedStage, *, will_run: bool) -> None:
        place = self._place(stage.index)
        parent = parent_index(planned)
        layers = stage.image.layers
        if parent is None:
            root = StageRoot(
                place,
                self._blobs,
                self._backend,
                layers,
                snapshots=self._snapshots,
                will_run=will_run,
            )
        else:
            before = self.finished[parent]
            root = before.root.child(place, will_run=will_run)
            for layer in layers[len(before.image.layers) :]:
                root.apply_cached(layer)
        self._opened.append(root)
        stage.opened = root

    def _place(self, index: int) -> Path:
        place = self._settings.work_dir / f"stage{index}"
        place.mkdir(exist_ok=True)
        return place

    def _first(
        self, planned: PlannedStage, before: tuple[StageBuild, CacheState] | None
    ) -> tuple[StageBuild, CacheState]:
        state = self._plan.first_state(planned, before[0] if before else None, self._settings)
        stage = StageBuild(state.index, state.name, state.image, state.scope, state.settings)
        if before:
            return stage, before[1]
        ignored = (f"ignored {path}" for path in self._snapshots.ignored)
        return stage, CacheState.of_base(state.image, (*self._blobs.rules.key_parts, *ignored))

    def _take(self, stage: StageBuild, instruction: Instruction) -> LayerStep | None:
        try:
            return take(stage, instruction)
        except KnarrError as error:
            raise located(error, instruction) from error

    def _located_key(self, instruction: Instruction, step: LayerStep, position: CacheState) -> CacheState:
        assert self._cache is not None
        try:
            return self._cache.planned_key(position, step)
        except KnarrError as error:
            raise located(error, instruction) from error


class _Files:
    """The files of a build's stages, for the keys of steps that copy from them."""

    def __init__(self, runner: StageRunner) -> None:
        self._runner = runner

    def build(self, index: int) -> None:
        self._runner.build_source(index)

    def tree(self, index: int) -> Tree:
        return self._runner.ready(index).root.tree()
