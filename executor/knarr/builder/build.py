"""A whole build: from the request to the image in its outputs."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.settings import open_cache
from knarr.builder.cache.source_keys import FilesSource
from knarr.builder.cache.step_cache import StepCache
from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.builder.outputs.output import check_outputs, write_layout, write_tarball
from knarr.builder.outputs.output_files import write_output_files
from knarr.builder.outputs.results import BuildResult
from knarr.builder.plan.checks import BuildChecks
from knarr.builder.plan.dry_run import Forecast
from knarr.builder.plan.plan import BuildPlan
from knarr.builder.plan.stage import Settings, StageBuild, located
from knarr.builder.request.epoch import source_date_epoch
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.builder.roots.isolation import Sandbox, enter_sandbox
from knarr.builder.roots.stage_root import StageRoot
from knarr.builder.run.stage_runner import StageRunner
from knarr.builder.sources.context import read_dockerfile, read_ignore_patterns
from knarr.builder.sources.git_program import GitProgram
from knarr.builder.sources.local_source import LocalSource
from knarr.builder.sources.named_contexts import NamedContexts
from knarr.builder.sources.remote import RemoteSources
from knarr.builder.sources.remote_auth import RemoteAuth
from knarr.builder.sources.sources import BuildSources
from knarr.dockerfile.language.instructions import Run
from knarr.dockerfile.language.parser import Dockerfile, parse
from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.dockerfile.stages.stages import PlannedStage
from knarr.dockerfile.syntax.frontend import frontend_warning
from knarr.errors import KnarrError
from knarr.images.base_images import BaseImages
from knarr.images.blobs import Blobs, LayerRules
from knarr.images.image import FinishedImage, Image, Layer
from knarr.images.local_base_cache import LocalBaseCache
from knarr.images.pusher import Pusher
from knarr.images.squash import Squash
from knarr.images.store import Store
from knarr.layers.tar_read import read_members
from knarr.oci.digest import Digest
from knarr.progress import BuildPlanned, BuiltLayer, ImageBuilt, Note, Reporter, Silent, SourceRead
from knarr.registry.client import Client


def _load_nothing() -> None:
    pass


def build_image(
    request: BuildRequest,
    client: Client,
    reporter: Reporter,
    *,
    load_code: Callable[[], None] = _load_nothing,
    on_plan: Callable[[Sequence[str]], None] | None = None,
) -> Digest:
    """Build, push, write the outputs; the result is the manifest's digest.

    Call it while the process has one thread: it may enter namespaces. A build in place calls `load_code`
    while nobody else can have changed the files that this process may still load; `on_plan` gets what
    `foresee_build` gives, before the work. Raises KnarrError; then no tag was set and no output written,
    except for outputs that came before the one that failed.
    """
    check_outputs(request.outputs)
    request, dockerfile = _read(request, reporter)
    with ExitStack() as exits:
        sandbox = exits.enter_context(
            enter_sandbox(
                request.isolation,
                request.work_dir,
                reporter,
                force=request.force,
                kept=(*request.own_paths(), *filter(os.path.lexists, request.output_paths())),
            )
        )
        sandbox.prepare(load_code)
        sandbox.prepare(client.prepare)
        blobs, build = _open(request, dockerfile, sandbox, client, reporter, exits)
        pusher = exits.enter_context(Pusher(client, request.outputs.pushed_to))
        pusher.check()
        cache = _open_cache(request, client, blobs, exits)
        made = build.run(pusher, cache, on_plan)
        image = FinishedImage.of(made, blobs.open_packed, request.outputs.form)
        reporter.report(_built(image))
        build.close()
        sandbox.close()  # before outputs are written to what may be the container's own directories
        if request.outputs.need_all_layers:
            blobs.ensure(made.layers)
        _write_outputs(request.outputs, image, pusher)
        result = BuildResult(
            image.descriptor,
            request.outputs.destinations,
            bool(request.outputs.pushed_to),
            image.config_digest,
        )
        write_output_files(request.outputs.files, result, client)
    return image.descriptor.digest


def foresee_build(request: BuildRequest, client: Client, reporter: Reporter) -> list[str]:
    """What `build_image` would do, as lines; nothing is built, pushed, written or put into the cache.

    Raises KnarrError for what can be found wrong without work.
    """
    request, dockerfile = _read(request, reporter)
    sandbox = enter_sandbox("none", request.work_dir, Silent())
    with ExitStack() as exits:
        blobs, build = _open(request, dockerfile, sandbox, client, reporter, exits)
        cache = _open_cache(request, client, blobs, exits)
        build.plan(build.stages(), cache)
        return build.forecast()


def _read(request: BuildRequest, reporter: Reporter) -> tuple[BuildRequest, Dockerfile]:
    """The Dockerfile, with the request as it is under the file's ARGs."""
    data = read_dockerfile(request.dockerfile)
    text = without_credentials(data.decode("utf-8", "replace"))
    reporter.report(SourceRead(str(request.dockerfile), text))
    warning = frontend_warning(text, request.build_args)
    if warning is not None:
        reporter.report(Note(warning, "warning"))
    dockerfile = parse(data, file=request.dockerfile.name)
    return replace(request, epoch_s=source_date_epoch(request, dockerfile)), dockerfile


def _open(
    request: BuildRequest,
    dockerfile: Dockerfile,
    sandbox: Sandbox,
    client: Client,
    reporter: Reporter,
    exits: ExitStack,
) -> tuple[Blobs, "Build"]:
    """What a build works with; `exits` closes it."""
    rules = LayerRules(request.outputs.form.compression, request.epoch_s)
    local_bases = _local_bases(request, client)
    blobs = Blobs(
        Store.create(request.work_dir / "store", durable=False), client, rules, local_bases=local_bases
    )
    exits.callback(blobs.close)
    git = request.git if sandbox.trusts(request.git.path) else GitProgram()
    auth = RemoteAuth(request.credentials.secrets)
    remotes = RemoteSources(client, git, request.work_dir, auth=auth)
    bases = BaseImages(client, reporter, local_bases)
    build = Build(request, dockerfile, sandbox, blobs, bases, remotes, reporter)
    exits.callback(build.close)
    return blobs, build


def _local_bases(request: BuildRequest, client: Client) -> LocalBaseCache | None:
    """The base images that a warmer has put on this machine."""
    cache = request.cache
    if cache is None or cache.base_directory is None:
        return None
    return LocalBaseCache(
        cache.base_directory,
        client.reporter,
        ttl_s=cache.ttl_s,
        now_s=request.created_s,
        sleep=client.sleep,
    )


def _open_cache(request: BuildRequest, client: Client, blobs: Blobs, exits: ExitStack) -> LayerCache | None:
    """The layer cache, closed with the build: what is still being kept is waited for then."""
    if request.cache is None:
        return None
    return exits.enter_context(
        open_cache(request.cache, client, blobs, request.platform, now_s=request.created_s)
    )


def _built(image: FinishedImage) -> ImageBuilt:
    return ImageBuilt(
        str(image.descriptor.digest),
        str(image.config_digest),
        str(image.descriptor.platform),
        tuple(BuiltLayer(str(layer.digest), layer.size_bytes) for layer in image.manifest.layers),
    )


def _write_outputs(outputs: Outputs, image: FinishedImage, pusher: Pusher) -> None:
    if outputs.oci_layout_path is not None:
        write_layout(outputs.oci_layout_path, image, outputs.destinations)
    if outputs.tar_path is not None:
        write_tarball(outputs.tar_path, image, outputs.destinations)
    pusher.put(image, outputs.pushed_to)


class Build:
    """The stages of one build."""

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
        self._directories = replace(sandbox.directories, snapshots=request.snapshots)
        self._blobs = blobs
        self._bases = bases
        self._reporter = reporter
        self._finished: dict[int, StageBuild] = {}
        self._image_roots: dict[tuple[str, str], StageRoot] = {}
        self._runner: StageRunner | None = None
        self._steps: StepCache | None = None
        self._contexts = NamedContexts(
            request.contexts, request.platform, bases, blobs, request.work_dir / "contexts"
        )
        self._plan = BuildPlan(request, dockerfile, bases, self._contexts)
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
            created_s=request.image_time_s,
            escape=dockerfile.directives.escape,
            build_args=request.build_args,
            global_args=self._plan.global_args,
            sandbox=sandbox,
            work_dir=request.work_dir,
            sources=self._sources,
            caches=CacheMounts(
                request.mount_cache_dir or request.work_dir / "cache-mounts",
                request.build_args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
                reporter,
                can_share=sandbox.can_mount,
            ),
            credentials=request.credentials,
            remotes=remotes,
            reporter=reporter,
        )
        self._checks = BuildChecks(
            dockerfile,
            self._plan.global_args,
            request.build_args,
            request.platform,
            ignore,
            reporter,
        )

    def run(
        self,
        pusher: Pusher,
        cache: LayerCache | None,
        on_plan: Callable[[Sequence[str]], None] | None = None,
    ) -> Image:
        """Build what the target needs; the result is the target's image. Its layers go to the pusher."""
        stages = self.stages()
        if cache is None:
            self._check_isolation(stages)
        steps = sum(len(each.instructions) for each in stages)
        self._reporter.report(BuildPlanned(len(stages), steps))
        runner = self.plan(stages, cache)
        if on_plan is not None:
            on_plan(self.forecast())

        base_layers = self._plan.base_layer_count(stages)

        def publish(layer: Layer) -> None:
            self._request.outputs.form.layer_type(layer.descriptor.media_type)  # or fail now
            if layer.origin is not None or not self._request.single_snapshot:
                pusher.submit(layer, partial(self._blobs.open_packed, layer))

        for other in self._plan.targets[1:]:
            runner.build(other.index)
        image = runner.build(self._plan.target.index, publish).image
        if self._request.single_snapshot:
            image = self._merged(image, base_layers)
        config = image.config.with_labels(self._request.labels)
        return image.with_config(config.with_property("created", self._settings.created))

    def stages(self) -> tuple[PlannedStage, ...]:
        """What is to be built, the Dockerfile checked, the images resolved that it starts from."""
        self._checks.check_file()
        stages = self._plan.stages()
        images = {each.stage.index: self._plan.base_image(each) for each in stages}
        self._checks.check_stages(stages, {i: image for i, image in images.items() if image is not None})
        return stages

    def plan(self, stages: tuple[PlannedStage, ...], cache: LayerCache | None) -> StageRunner:
        """Look all steps up that can be known before any work."""
        self._steps = self._step_cache(cache)
        self._runner = StageRunner(
            self._plan,
            stages,
            self._settings,
            self._blobs,
            self._directories,
            self._steps,
            self._reporter,
            self._finished,
            is_read=self._request.outputs.read,
        )
        self._runner.plan_keys()
        return self._runner

    def forecast(self) -> list[str]:
        """What is planned, as lines; comes after `plan`."""
        assert self._runner is not None
        return Forecast(self._runner, self._steps, self._request.outputs).lines()

    def _merged(self, image: Image, kept: int) -> Image:
        """The image with the layers of this build as one."""
        own = image.layers[kept:]
        if len(own) < 2:
            return image
        place = self._request.work_dir / "merge"
        below = StageRoot(place, self._blobs, self._directories, image.layers[:kept])
        merge = Squash(below.spool, below.tree)
        for layer in own:
            with self._blobs.open(layer) as stream:
                merge.add(read_members(stream), layer)
        return image.with_merged(kept, self._blobs.write_layer(merge.items()))

    def close(self) -> None:
        """Unmount and close; may be called again."""
        if self._runner is not None:
            self._runner.close()
        for root in self._image_roots.values():
            root.close()
        self._sources.close()

    def _step_cache(self, cache: LayerCache | None) -> StepCache | None:
        if cache is None or self._request.cache is None:
            return None
        return StepCache(
            cache,
            self._request.cache.rules,
            created_s=self._request.created_s,
            context=FilesSource("context", self._sources.context),
            resolve=self._sources.identify,
            open_layer=self._blobs.open_packed,
        )

    def _check_isolation(self, plan: tuple[PlannedStage, ...]) -> None:
        """Refuse a RUN that can't run before anything is pulled for it; with a cache it may not have to."""
        for run in (each for planned in plan for each in planned.instructions if isinstance(each, Run)):
            try:
                self._settings.sandbox.require()
            except KnarrError as error:
                raise located(error, run) from error

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
