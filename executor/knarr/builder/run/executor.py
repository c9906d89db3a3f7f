"""Carries out a plan: stages in an order that their needs allow, steps from the cache where it has them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from knarr.builder.cache.decisions import Decisions
from knarr.builder.cache.state import CacheState, StepVerdict
from knarr.builder.plan.located import located
from knarr.builder.plan.plan import Plan
from knarr.builder.plan.steps import AddStep, LayerStep, Origin, RunStep, Step
from knarr.builder.roots.stage_root import StageRoot
from knarr.builder.run.layer_makers import StepWork, make_layer
from knarr.builder.run.stage_work import StageWork
from knarr.builder.run.step_events import StepEvents
from knarr.builder.run.tools import Tools
from knarr.builder.sources.add_sources import AddSources
from knarr.builder.sources.sources import Source
from knarr.dockerfile.stages.stages import StageReference
from knarr.images.image import Image, Layer
from knarr.images.squash import Squash
from knarr.layers.tar.read import read_members
from knarr.progress import BuildPlanned, StageEnded, StageStarted


def execute(plan: Plan, decisions: Decisions, tools: Tools) -> Image:
    """Do what is decided; the result is the target's image, whose layers were published as they came.

    Raises KnarrError: of the first step that fails, or, before any work, of a RUN that can't be run here.
    """
    tools.reporter.report(BuildPlanned(len(plan.stages), plan.step_count))
    for step in decisions.processes(plan):
        with located(step.instruction):
            tools.backend.require()
    with Executor(plan, decisions, tools) as executor:
        for index in decisions.needed_stages(plan):
            executor.finish(index)
        image = executor.finish(plan.targets[0])
    if plan.single_snapshot:
        image = _as_single_layer(image, len(plan.target.base.layers), tools)
    return plan.finished(image)


@dataclass(frozen=True, slots=True)
class _Made:
    """A step that is done, with the state of its stage behind it."""

    layer: Layer
    state: CacheState


class Executor:
    """The stages of one build, each built when something needs it. A `with` block closes their roots."""

    def __init__(self, plan: Plan, decisions: Decisions, tools: Tools) -> None:
        self._plan = plan
        self._decisions = decisions
        self._tools = tools
        self._works = {index: StageWork(stage) for index, stage in plan.stages.items()}
        self._image_roots: dict[Origin, StageRoot] = {}
        self._exits = ExitStack()
        self._has_failed = False

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def finish(self, index: int) -> Image:
        """Build a stage, those that it stands on first, as far as that is not done; raises KnarrError.

        Its files need not be readable then: what came from the cache may not have been looked at.
        """
        work = self._works[index]
        while not work.is_finished:
            damaged = self._attempt(work)
            if damaged is not None:
                self._discard(index, damaged)
        return work.image

    def _ready(self, index: int) -> StageWork:
        """A stage whose files can be read."""
        while True:
            self.finish(index)
            damaged = self._first_damaged(self._works[index].layers)
            if damaged is None:
                return self._works[index]
            self._discard(index, damaged)

    def _attempt(self, work: StageWork) -> Layer | None:
        """Carry all steps of a stage out. A cached layer that proves damaged ends it before anything is made.

        Such a layer is the result; its entry is not used again.
        """
        plan, reporter = work.plan, self._tools.reporter
        self._begin(work)
        reporter.report(
            StageStarted(plan.id, plan.index, plan.name, plan.from_.image, plan.from_.location.line)
        )
        for step in plan.steps:
            with located(step.instruction):
                damaged = self._carry_out(work, step)
            if damaged is not None:
                reporter.report(StageEnded(plan.id, plan.index))
                return damaged
        if work.opened is None:
            self._open(work, will_run=False)
        work.root.finish()
        work.is_finished = True
        if self._tools.cache is not None:
            self._tools.cache.steps.keys.know_stage(plan.index, work.state)
        reporter.report(StageEnded(plan.id, plan.index))
        return None

    def _begin(self, work: StageWork) -> None:
        """Start a stage from what lies below it, which is built first."""
        if work.plan.parent is not None:
            self.finish(work.plan.parent)
            below = self._works[work.plan.parent]
            work.begin(below.layers, below.state)
        else:
            cache = self._tools.cache
            state = cache.steps.first_state(work.plan) if cache is not None else CacheState(None, "")
            work.begin(work.plan.base.layers, state)
        for layer in work.layers:
            self._publish(work, layer)

    def _carry_out(self, work: StageWork, step: Step) -> Layer | None:
        """One step; other stages that it needs are built before it is said to start. See `_attempt`."""
        events = StepEvents(self._tools.reporter, work.plan, step)
        layer: Layer | None = None
        if step.layer is not None:
            with self._told(events), ExitStack() as exits:
                outcome = self._take_or_make(work, step, step.layer, events, exits)
            if isinstance(outcome, Layer):
                return outcome
            layer, work.state = outcome.layer, outcome.state
            work.layers.append(layer)
            self._publish(work, layer)
        events.end(layer)
        return None

    @contextmanager
    def _told(self, events: StepEvents) -> Iterator[None]:
        """Say of a step that it started, and whether it failed: of the first only, others waited for it."""
        try:
            yield
        except BaseException:
            if not self._has_failed:
                self._has_failed = True
                events.fail()
            raise
        events.start()

    def _take_or_make(
        self, work: StageWork, step: Step, layer_step: LayerStep, events: StepEvents, exits: ExitStack
    ) -> _Made | Layer:
        """The step's layer from the cache, else made; or a damaged layer that it would have been made on."""
        fetched = None
        if isinstance(layer_step, AddStep):
            fetched = AddSources(self._tools.remotes, layer_step)
            exits.callback(fetched.close)
            if layer_step.has_remotes:
                events.start()  # it may download for long
        verdict = self._verdict(work, step, layer_step, fetched, events)
        layer = verdict.layer
        if layer is not None:
            events.start()
            if work.opened is not None:
                work.root.apply_cached(layer)
            return _Made(layer, verdict.after(work.state, layer_step, layer))
        if isinstance(layer_step, RunStep):
            self._tools.backend.require()  # before anything is pulled for it
        damaged = self._open_for(work, step)
        if damaged is not None:
            return damaged
        events.start()
        sources = {origin: self._source(origin) for origin in layer_step.origins}
        layer = make_layer(StepWork(step, work.plan.name, work.root, sources, fetched, self._tools))
        if self._tools.cache is not None:
            self._tools.cache.steps.keep(work.state, layer_step, verdict, layer)
        return _Made(layer, verdict.after(work.state, layer_step, layer))

    def _verdict(
        self,
        work: StageWork,
        step: Step,
        layer_step: LayerStep,
        fetched: AddSources | None,
        events: StepEvents,
    ) -> StepVerdict:
        """What the cache says of the step; a layer that will be read soon is whole."""
        if self._tools.cache is None:
            return StepVerdict()
        verdict = self._decisions.of(step) if work.is_planned else None
        if verdict is None:
            verdict = self._judge(work, layer_step, fetched)
        while verdict.layer is not None and not self._is_usable(work, verdict):
            verdict = self._judge(work, layer_step, fetched)
        events.judged(is_hit=verdict.layer is not None, reason=verdict.reason)
        return verdict

    def _judge(self, work: StageWork, layer_step: LayerStep, fetched: AddSources | None) -> StepVerdict:
        """Ask the cache about a step whose inputs had to be built or fetched first."""
        assert self._tools.cache is not None
        steps = self._tools.cache.steps
        for wanted in steps.keys.unknown_stages(layer_step):
            assert isinstance(wanted.origin, StageReference)
            self.finish(wanted.origin.index)
        for wanted in steps.keys.unknown_stages(layer_step):
            assert isinstance(wanted.origin, StageReference)
            steps.keys.read_stage(wanted, self._ready(wanted.origin.index).root.tree())
        inputs = steps.keys.inputs(layer_step)
        if inputs is None:
            assert fetched is not None, "a step's inputs come from stages, or are fetched"
            inputs = steps.keys.inputs(layer_step, fetched.fetch().contents)
        assert inputs is not None
        return steps.judge(work.state, layer_step, inputs)

    def _is_usable(self, work: StageWork, verdict: StepVerdict) -> bool:
        """Whether a cached layer is whole, as far as somebody is to read it soon."""
        assert self._tools.cache is not None
        assert verdict.layer is not None
        assert verdict.key is not None
        self._tools.cache.layers.add(verdict.layer, verdict.key)
        is_target = work.plan.index == self._plan.targets[0]
        if work.opened is None and not (is_target and self._tools.outputs.read(verdict.layer)):
            return True
        return self._first_damaged([verdict.layer]) is None

    def _open_for(self, work: StageWork, step: Step) -> Layer | None:
        """Have ready what a step needs: what it copies from, the root file system. See `_attempt`.

        Where all stages have one directory, what later steps copy from is built before it is taken.
        """
        rest = work.rest(step)
        is_alone = not self._tools.backend.abilities.one_root or work.opened is not None
        for each in rest[:1] if is_alone else rest:
            for index in each.source_stages:
                self._ready(index)
        if work.opened is not None:
            return None
        damaged = self._first_damaged(work.layers)
        if damaged is None:
            can_run = self._tools.backend.abilities.can_run
            self._open(work, will_run=can_run and any(isinstance(each.layer, RunStep) for each in rest))
        return damaged

    def _open(self, work: StageWork, *, will_run: bool) -> None:
        place = self._tools.work_dir / f"stage{work.plan.index}"
        place.mkdir(exist_ok=True)
        if work.plan.parent is None:
            root = self._new_root(place, work.layers, will_run=will_run)
        else:
            below = self._works[work.plan.parent]
            root = below.root.child(place, will_run=will_run)
            for layer in work.layers[len(below.layers) :]:
                root.apply_cached(layer)
        self._exits.callback(root.close)
        work.opened = root

    def _new_root(self, place: Path, layers: Sequence[Layer], *, will_run: bool = False) -> StageRoot:
        tools = self._tools
        return StageRoot(
            place, tools.blobs, tools.backend, layers, snapshots=tools.snapshots, will_run=will_run
        )

    def _source(self, origin: Origin) -> Source:
        """Where a step takes files from; a stage is built by now."""
        if isinstance(origin, StageReference):
            return self._works[origin.index].root
        image = self._plan.images.get(origin) if origin is not None else None
        if image is None:
            return self._tools.directories.get(origin)
        if origin not in self._image_roots:
            place = self._tools.work_dir / f"image{len(self._image_roots)}"
            place.mkdir()
            root = self._image_roots[origin] = self._new_root(place, image.layers)
            self._exits.callback(root.close)
        return self._image_roots[origin]

    def _publish(self, work: StageWork, layer: Layer) -> None:
        """Begin to send a layer of the image, but for those that will be one layer in the end."""
        is_final = layer.origin is not None or not self._plan.single_snapshot
        if work.plan.index == self._plan.targets[0] and is_final:
            self._tools.publish(layer)

    def _first_damaged(self, layers: Iterable[Layer]) -> Layer | None:
        cache = self._tools.cache
        return cache.layers.first_damaged(layers) if cache is not None else None

    def _discard(self, index: int, layer: Layer) -> None:
        """Build a stage anew because of a layer that can't be read, with the stages below that have it too.

        None of them has made anything: what lies on the layer comes from the cache too.
        """
        for stage in self._plan.chain(index):
            work = self._works[stage.index]
            if work.is_finished and layer not in work.layers:
                return
            work.restart()


def _as_single_layer(image: Image, kept: int, tools: Tools) -> Image:
    """The image with one layer in place of all but the lowest `kept` (`--single-snapshot`)."""
    own = image.layers[kept:]
    if len(own) < 2:
        return image
    below = StageRoot(tools.work_dir / "squash", tools.blobs, tools.backend, image.layers[:kept])
    squash = Squash(below.spool, below.tree)
    for layer in own:
        with tools.blobs.open(layer) as stream:
            squash.add(read_members(stream), layer)
    return image.with_squashed(kept, tools.blobs.write_layer(squash.items()))
