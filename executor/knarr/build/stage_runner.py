"""Builds stages: each instruction in turn, from the cache where it has the layer."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from knarr.build.blobs import Blobs
from knarr.build.cache.step_cache import Position, StepCache, StepVerdict
from knarr.build.image import ImageLayer
from knarr.build.layer_step import LayerStep
from knarr.build.plan import BuildPlan, parent_index
from knarr.build.root import Directories, StageRoot
from knarr.build.stage import Settings, StageBuild, located
from knarr.build.steps import take
from knarr.dockerfile.instructions import Instruction, Run
from knarr.dockerfile.remote_sources import without_credentials
from knarr.dockerfile.stages import PlannedStage, StageReference
from knarr.errors import KnarrError
from knarr.progress import CacheJudged, Reporter, StageEnded, StageStarted, StepEnded, StepStarted
from knarr.rootfs.tree import Tree

OnLayer = Callable[[ImageLayer], None]


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
        directories: Directories,
        cache: StepCache | None,
        reporter: Reporter,
        finished: dict[int, StageBuild],
    ) -> None:
        self._plan = plan
        self._planned = {each.stage.index: each for each in stages}
        self._settings = settings
        self._blobs = blobs
        self._directories = directories
        self._cache = cache
        self._reporter = reporter
        self._opened: list[StageRoot] = []
        self._positions: dict[int, Position] = {}
        self.finished = finished

    def plan_keys(self) -> None:
        """Compute the keys of all steps as far as they are known before work, and look them up."""
        if self._cache is None:
            return
        ends: dict[int, tuple[StageBuild, Position]] = {}
        for index, planned in self._planned.items():
            parent = parent_index(planned)
            before = ends[parent] if parent is not None else None
            stage, position = self._first(planned, before)
            for instruction in planned.instructions:
                step = self._take(stage, instruction)
                if step is not None:
                    position = self._located_key(position, step, instruction)
            self._cache.know_stage(index, position)
            ends[index] = stage, position

    def build(self, index: int, on_layer: OnLayer = lambda _: None) -> StageBuild:
        """Build a stage that is not built yet, those it starts from first; Raises KnarrError."""
        if self._cache is None:
            for each in [other for other in self._planned if other < index]:
                self._build(each, lambda _: None)
        return self._build(index, on_layer)

    def close(self) -> None:
        """Unmount and close; may be called again."""
        for root in self._opened:
            root.close()

    def _build(self, index: int, on_layer: OnLayer) -> StageBuild:
        if index in self.finished:
            return self.finished[index]
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
        for number, instruction in enumerate(planned.instructions, start=1):
            try:
                position = self._carry_out(stage, planned, number, position)
            except KnarrError as error:
                raise located(error, instruction) from error
        if stage.opened is None:
            self._open(stage, planned, will_run=False)
        stage.root.finish()
        self._positions[index] = position
        self.finished[index] = stage
        self._reporter.report(StageEnded(index))
        return stage

    def _carry_out(
        self, stage: StageBuild, planned: PlannedStage, number: int, position: Position
    ) -> Position:
        """One instruction. Other stages that it needs are built before it is said to start."""
        instruction = planned.instructions[number - 1]
        started = _Started(self._reporter, stage, instruction, number, len(planned.instructions))
        try:
            step = take(stage, instruction)
            if step is None:
                started.report()
                started.end(None)
                return position
            verdict = self._verdict(stage, step, instruction, number, position)
            cached = verdict.entry.layer if verdict.entry is not None else None
            if cached is None and stage.opened is None:
                self._open_for(stage, planned, number)
        finally:
            started.report()
        if cached is not None:
            layer = cached
            if stage.opened is not None:
                stage.root.adopt(layer)
        else:
            layer = step.make(stage)
            if self._cache is not None:
                self._cache.keep(position, step, verdict, layer)
        stage.add_layer(layer, step.created_by)
        started.end(layer)
        return verdict.after(position, step, layer)

    def _verdict(
        self, stage: StageBuild, step: LayerStep, instruction: Instruction, number: int, position: Position
    ) -> StepVerdict:
        if self._cache is None:
            return StepVerdict()
        verdict = self._cache.verdict(position, step, self._files())
        is_hit = verdict.entry is not None
        text = without_credentials(instruction.original)
        self._reporter.report(CacheJudged(stage.index, number, text, is_hit, verdict.reason))
        return verdict

    def _files(self) -> Mapping[int, Callable[[], Tree]]:
        """Ways to the files of all stages; one that is not built yet is built for it."""

        def way(index: int) -> Callable[[], Tree]:
            return lambda: self._build(index, lambda _: None).root.tree()

        return {index: way(index) for index in self._planned}

    def _open_for(self, stage: StageBuild, planned: PlannedStage, number: int) -> None:
        """Make the root file system for the steps from `number` on, and first what they copy from.

        Not in their midst: a build in place has one directory for all.
        """
        rest = planned.instructions[number - 1 :]
        if self._cache is not None:
            for reference in planned.references:
                if isinstance(reference, StageReference):
                    self._build(reference.index, lambda _: None)
        self._open(stage, planned, will_run=any(isinstance(each, Run) for each in rest))

    def _open(self, stage: StageBuild, planned: PlannedStage, *, will_run: bool) -> None:
        place = self._place(stage.index)
        parent = parent_index(planned)
        layers = stage.image.layers
        if parent is None:
            root = StageRoot(place, self._blobs, self._directories, layers, will_run=will_run)
        else:
            before = self.finished[parent]
            root = before.root.child(place, will_run=will_run)
            for layer in layers[len(before.image.layers) :]:
                root.adopt(layer)
        self._opened.append(root)
        stage.opened = root

    def _place(self, index: int) -> Path:
        place = self._settings.work_dir / f"stage{index}"
        place.mkdir(exist_ok=True)
        return place

    def _first(
        self, planned: PlannedStage, before: tuple[StageBuild, Position] | None
    ) -> tuple[StageBuild, Position]:
        state = self._plan.first_state(planned, before[0] if before else None, self._settings)
        stage = StageBuild(state.index, state.name, state.image, state.scope, state.settings)
        return stage, before[1] if before else Position.of_base(state.image, self._blobs.rules.key_parts)

    def _take(self, stage: StageBuild, instruction: Instruction) -> LayerStep | None:
        try:
            return take(stage, instruction)
        except KnarrError as error:
            raise located(error, instruction) from error

    def _located_key(self, position: Position, step: LayerStep, instruction: Instruction) -> Position:
        assert self._cache is not None
        try:
            return self._cache.planned_key(position, step)
        except KnarrError as error:
            raise located(error, instruction) from error


class _Started:
    """The events of one step."""

    def __init__(
        self, reporter: Reporter, stage: StageBuild, instruction: Instruction, number: int, total: int
    ) -> None:
        self._reporter = reporter
        self._stage = stage
        self._instruction = instruction
        self._number = number
        self._total = total
        self._started_s: float | None = None

    def report(self) -> None:
        """Say that the step starts, once."""
        if self._started_s is None:
            self._started_s = time.monotonic()
            text = without_credentials(self._instruction.original)
            line, end_line = self._instruction.location.line, self._instruction.end_line
            name, number, total = self._stage.name, self._number, self._total
            self._reporter.report(StepStarted(name, number, total, text, line, end_line))

    def end(self, layer: ImageLayer | None) -> None:
        """Say that it is done."""
        assert self._started_s is not None
        size, digest = None, ""
        if layer is not None:
            size, digest = layer.descriptor.size_bytes, str(layer.descriptor.digest)
        took_s = time.monotonic() - self._started_s
        name, number, total = self._stage.name, self._number, self._total
        self._reporter.report(StepEnded(name, number, total, took_s, size, digest))
