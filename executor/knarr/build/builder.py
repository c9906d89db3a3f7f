"""A whole build: from the request to the image in its outputs."""

import time
from collections.abc import Mapping
from contextlib import ExitStack

from knarr.build.base import BaseImages
from knarr.build.blobs import Blobs
from knarr.build.cache_mounts import CacheMounts
from knarr.build.checks import BuildChecks
from knarr.build.context import read_dockerfile, read_ignore_patterns
from knarr.build.image import FinishedImage, Image
from knarr.build.isolation import Sandbox, enter_sandbox
from knarr.build.local_source import LocalSource
from knarr.build.named_contexts import NamedContexts
from knarr.build.output import check_outputs, write_digest_file, write_layout, write_tarball
from knarr.build.publish import Publisher
from knarr.build.remote import RemoteSources
from knarr.build.request import BuildRequest
from knarr.build.root import StageRoot
from knarr.build.sources import BuildSources
from knarr.build.stage import Settings, StageBuild, located
from knarr.build.steps import carry_out
from knarr.dockerfile.instructions import Instruction, Run
from knarr.dockerfile.parser import Dockerfile, parse, parse_onbuild
from knarr.dockerfile.remote_sources import without_credentials
from knarr.dockerfile.scope import Scope, global_scope
from knarr.dockerfile.stages import (
    ContextReference,
    ImageReference,
    PlannedStage,
    ScratchReference,
    StageReference,
    plan_stages,
    resolve_target,
)
from knarr.errors import DockerfileError, KnarrError, UsageError
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.platform import Platform
from knarr.progress import Reporter, StepEnded, StepStarted
from knarr.registry.client import Client
from knarr.store import Store


def build_image(request: BuildRequest, client: Client, reporter: Reporter) -> Digest:
    """Build, push, write the outputs; the result is the manifest's digest.

    Call it while the process has one thread: it may enter namespaces. Raises KnarrError; then no tag was
    set and no output written, except for outputs that came before the one that failed.
    """
    check_outputs(request.outputs)
    dockerfile = parse(read_dockerfile(request.dockerfile), file=request.dockerfile.name)
    sandbox = enter_sandbox(request.isolation, request.work_dir, reporter)
    with ExitStack() as exits:
        blobs = Blobs(Store.create(request.work_dir / "store", durable=False), client)
        exits.callback(blobs.close)
        publisher = exits.enter_context(Publisher(client, request.outputs.pushed_to, blobs))
        publisher.check()
        remotes = RemoteSources(client, request.git, request.work_dir)
        build = Build(request, dockerfile, sandbox, blobs, BaseImages(client, reporter), remotes, reporter)
        exits.callback(build.close)
        image = FinishedImage.of(build.run(publisher))
        build.close()
        _write_outputs(request, image, blobs, publisher)
    return image.descriptor.digest


def _write_outputs(request: BuildRequest, image: FinishedImage, blobs: Blobs, publisher: Publisher) -> None:
    outputs = request.outputs
    if outputs.need_all_layers:
        blobs.ensure(image.layers)
    if outputs.oci_layout_path is not None:
        write_layout(outputs.oci_layout_path, image, blobs.store, outputs.destinations)
    if outputs.tar_path is not None:
        write_tarball(outputs.tar_path, image, blobs.store, outputs.destinations)
    publisher.finish(image)
    if outputs.digest_file is not None:
        write_digest_file(outputs.digest_file, image.descriptor.digest)


class Build:
    """The stages of one build, done in the order of the file."""

    def __init__(
        self,
        request: BuildRequest,
        dockerfile: Dockerfile,
        sandbox: Sandbox,
        blobs: Blobs,
        bases: BaseImages,
        remotes: RemoteSources,
        reporter: Reporter,
    ) -> None:
        self._request = request
        self._dockerfile = dockerfile
        self._directories = sandbox.directories
        self._blobs = blobs
        self._bases = bases
        self._reporter = reporter
        self._target = resolve_target(dockerfile, request.target)
        self._started: list[StageBuild] = []
        self._finished: dict[int, StageBuild] = {}
        self._image_roots: dict[tuple[str, str], StageRoot] = {}
        self._contexts = NamedContexts(
            request.contexts, request.platform, bases, blobs, request.work_dir / "contexts"
        )
        ignore = read_ignore_patterns(request.dockerfile, request.context)
        self._sources = BuildSources(
            LocalSource(request.context, ignore, request.work_dir / "context"),
            dockerfile,
            self._finished,
            self._contexts,
            context_root=self._context_root,
            image_root=self._image_root,
            empty=request.work_dir / "scratch",
        )
        self._settings = Settings(
            created_s=request.created_s,
            escape=dockerfile.directives.escape,
            build_args=request.build_args,
            global_args=self._global_args(),
            sandbox=sandbox,
            work_dir=request.work_dir,
            sources=self._sources,
            caches=CacheMounts(
                request.mount_cache_dir or request.work_dir / "cache-mounts",
                request.build_args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
                reporter,
            ),
            credentials=request.credentials,
            remotes=remotes,
            reporter=reporter,
        )
        self._checks = BuildChecks(
            dockerfile,
            self._settings.global_args,
            request.build_args,
            request.platform,
            ignore,
            reporter,
        )

    def run(self, publisher: Publisher) -> Image:
        """Build what the target needs; the result is the target's image. Its layers go to the publisher."""
        self._checks.check_file()
        plan = self._plan()
        self._checks.check_stages(plan, self._planned_images(plan))
        self._check_isolation(plan)
        for planned in plan:
            stage = self._start(planned)
            self._started.append(stage)
            if planned.stage is self._target:
                for layer in stage.image.layers:
                    publisher.submit(layer)
                stage.on_layer = publisher.submit
            self._carry_out(stage, planned.instructions)
            self._finished[planned.stage.index] = stage
        config = self._finished[self._target.index].image.config
        config = config.with_labels(self._request.labels).with_property("created", self._settings.created)
        return self._finished[self._target.index].image.with_config(config)

    def close(self) -> None:
        """Unmount and close; may be called again."""
        for root in (*(stage.root for stage in self._started), *self._image_roots.values()):
            root.close()
        self._sources.close()

    def _global_args(self) -> Mapping[str, str]:
        return global_scope(
            self._dockerfile.global_args,
            build_args=self._request.build_args,
            build_platform=str(self._request.platform),
            target_platform=str(self._request.platform),
            target_stage=self._target.name,
            escape=self._dockerfile.directives.escape,
        )

    def _plan(self) -> tuple[PlannedStage, ...]:
        """The stages to build; planned anew while base images bring triggers of their own."""
        triggers: dict[int, tuple[Instruction, ...]] = {}
        while True:
            plan = plan_stages(
                self._dockerfile,
                self._target,
                self._settings.global_args,
                contexts=self._contexts.names,
                image_triggers=triggers,
            )
            found = {each.stage.index: self._triggers(each) for each in plan}
            found = {index: parsed for index, parsed in found.items() if parsed}
            if found == triggers:
                return plan
            triggers = found

    def _planned_images(self, plan: tuple[PlannedStage, ...]) -> Mapping[int, Image]:
        return {
            each.stage.index: self._base_image(each.base, each)
            for each in plan
            if isinstance(each.base, ImageReference | ContextReference)
        }

    def _check_isolation(self, plan: tuple[PlannedStage, ...]) -> None:
        """Refuse a RUN that can't run before anything is pulled for it."""
        for run in (each for planned in plan for each in planned.instructions if isinstance(each, Run)):
            try:
                self._settings.sandbox.require()
            except KnarrError as error:
                raise located(error, run) from error

    def _triggers(self, planned: PlannedStage) -> tuple[Instruction, ...]:
        if not isinstance(planned.base, ImageReference | ContextReference):
            return ()
        location = planned.stage.from_.location
        image = self._base_image(planned.base, planned)
        return tuple(
            parse_onbuild(text, file=self._dockerfile.file, location=location)
            for text in image.config.onbuild
        )

    def _base_image(self, base: ImageReference | ContextReference, planned: PlannedStage) -> Image:
        try:
            platform = self._platform(planned)
            if isinstance(base, ContextReference):
                return self._contexts.image(base.name, platform)
            return self._bases.get(base.name, platform)
        except KnarrError as error:
            raise located(error, planned.stage.from_) from error

    def _platform(self, planned: PlannedStage) -> Platform:
        if not planned.platform:
            return self._request.platform
        try:
            return Platform.parse(planned.platform)
        except UsageError as error:
            location = planned.stage.from_.location
            raise DockerfileError(error.message, location=location, hint=error.hint) from error

    def _start(self, planned: PlannedStage) -> StageBuild:
        index = planned.stage.index
        place = self._request.work_dir / f"stage{index}"
        place.mkdir()
        will_run = any(isinstance(instruction, Run) for instruction in planned.instructions)
        match planned.base:
            case StageReference(parent_index):
                parent = self._finished[parent_index]
                image, root, scope = (
                    parent.image,
                    parent.root.child(place, will_run=will_run),
                    parent.scope.inherited(),
                )
            case ImageReference() | ContextReference():
                image = self._base_image(planned.base, planned)
                root = StageRoot(place, self._blobs, self._directories, image.layers, will_run=will_run)
                scope = _scope(image.config)
            case ScratchReference():
                image = Image(ImageConfig.scratch(self._request.platform))
                root = StageRoot(place, self._blobs, self._directories, will_run=will_run)
                scope = _scope(image.config)
        config = image.config.with_env(scope.image_env).with_run(OnBuild=None)
        name = planned.stage.name or f"stage-{index}"
        return StageBuild(index, name, image.with_config(config), root, scope, self._settings)

    def _carry_out(self, stage: StageBuild, instructions: tuple[Instruction, ...]) -> None:
        total = len(instructions)
        for number, instruction in enumerate(instructions, start=1):
            started = time.monotonic()
            text = without_credentials(instruction.original)
            self._reporter.report(StepStarted(stage.name, number, total, text))
            stage.last_layer = None
            try:
                carry_out(stage, instruction)
            except KnarrError as error:
                raise located(error, instruction) from error
            size = stage.last_layer.descriptor.size_bytes if stage.last_layer is not None else None
            self._reporter.report(StepEnded(stage.name, number, total, time.monotonic() - started, size))

    def _image_root(self, name: str) -> StageRoot:
        """The files of an image that a `from` names; COPY extracts nothing but what it copies."""
        return self._source_root("image", name, self._bases.get(name, self._request.platform))

    def _context_root(self, name: str) -> StageRoot:
        """The same of a named context that is an image."""
        return self._source_root("context", name, self._contexts.image(name))

    def _source_root(self, kind: str, name: str, image: Image) -> StageRoot:
        key = (kind, name)
        if key not in self._image_roots:
            place = self._request.work_dir / f"image{len(self._image_roots)}"
            place.mkdir()
            self._image_roots[key] = StageRoot(place, self._blobs, self._directories, image.layers)
        return self._image_roots[key]


def _scope(config: ImageConfig) -> Scope:
    return Scope.from_image(f"{name}={value}" for name, value in config.env.items())
