"""A whole build in four calls: resolve, decide, execute, deliver."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

from knarr.builder.cache.decisions import Decisions, decide, decide_soundly
from knarr.builder.outputs.file_system import FileSystem
from knarr.builder.outputs.output import check_outputs, write_outputs
from knarr.builder.plan.plan import Plan
from knarr.builder.plan.resolve import resolve
from knarr.builder.plan.source import DockerfileSource
from knarr.builder.request.request import BuildRequest
from knarr.builder.roots.choose import enter_backend
from knarr.builder.run.dry_run import describe
from knarr.builder.run.executor import execute
from knarr.builder.run.tools import Tools, open_tools
from knarr.builder.sources.context import read_source
from knarr.images.image import FinishedImage, Image
from knarr.images.packed import packed
from knarr.oci.digest import Digest
from knarr.progress import BuiltLayer, ImageBuilt, Reporter, Silent
from knarr.registry.client import Client


@dataclass(frozen=True, slots=True)
class Build:
    """One build with what it works on, as `open_build` gives it.

    Each call takes what the one before gave. All raise KnarrError; until `deliver` no tag is set, no output
    is written.
    """

    request: BuildRequest
    source: DockerfileSource
    tools: Tools

    def resolve(self) -> Plan:
        """What has to be done; the Dockerfile is checked, the images are looked up that it names."""
        return resolve(self.request, self.source, self.tools.lookup, self.tools.reporter)

    def decide(self, plan: Plan) -> Decisions:
        """What the cache has of it; the cached layers that are sure to be read are pulled and checked."""
        own, can_run = self.tools.cache, self.tools.backend.abilities.can_run
        if own is None:
            return decide(plan, None)
        return decide_soundly(plan, own.steps, own.layers, self.request.outputs, can_run=can_run)

    def describe(self, plan: Plan, decisions: Decisions) -> list[str]:
        """The plan with the decisions as lines of text."""
        return describe(plan, decisions, self.request.outputs)

    def execute(self, plan: Plan, decisions: Decisions) -> Image:
        """Do what is left to do; the image's layers begin to be uploaded as they are made."""
        return execute(plan, decisions, self.tools)

    def deliver(self, made: Image) -> Digest:
        """Write the outputs, push, set the tags; the result is the manifest's digest.

        Outputs that come before one that fails are written then.
        """
        tools, outputs = self.tools, self.request.outputs
        made = packed(made, outputs.form, tools.blobs)
        image = FinishedImage.of(made, tools.blobs.open_packed, outputs.form)
        tools.reporter.report(_built(image))
        tools.backend.close()  # before outputs are written to what may be the container's own directories
        if outputs.need_all_layers:
            tools.blobs.ensure(made.layers)
        write_outputs(outputs, image, cache(partial(self._files, made)), tools.pusher, tools.client)
        return image.descriptor.digest

    def _files(self, made: Image) -> FileSystem:
        tools = self.tools
        return FileSystem.open(
            made.layers, tools.blobs, tools.work_dir / "files", mtime_s=self.source.epoch_s
        )


@contextmanager
def open_build(request: BuildRequest, client: Client, reporter: Reporter) -> Iterator[Build]:
    """A build that is ready to be planned: its Dockerfile is read, its isolation entered.

    Call it while the process has one thread: it may enter namespaces. Leaving the block gives up the uploads
    that still wait, and waits for what is put into the cache. Raises KnarrError, also where a destination
    can't be pushed to, or an output not be written.
    """
    check_outputs(request.outputs)
    source = read_source(request, reporter)
    kept = (*request.own_paths(), *filter(os.path.lexists, request.output_paths()))
    with enter_backend(
        request.isolation,
        request.work_dir,
        reporter,
        force=request.force,
        kept=kept,
        outputs=(*request.output_paths(), *request.more_places),
    ) as backend:
        backend.before_takeover(client.prepare)
        with open_tools(request, source, backend, client, reporter) as tools:
            tools.pusher.check()
            yield Build(request, source, tools)


def build_image(request: BuildRequest, client: Client, reporter: Reporter) -> Digest:
    """Build, push, write the outputs; the result is the manifest's digest. See `open_build`."""
    with open_build(request, client, reporter) as build:
        plan = build.resolve()
        return build.deliver(build.execute(plan, build.decide(plan)))


def dry_run(request: BuildRequest, client: Client, reporter: Reporter) -> list[str]:
    """What a build would do, as lines; nothing is built, pushed, written or put into the cache.

    Raises KnarrError for what can be found wrong without work.
    """
    source = read_source(request, reporter)
    nowhere = replace(request, outputs=replace(request.outputs, push=False))
    with (
        enter_backend("none", request.work_dir, Silent()) as backend,
        open_tools(nowhere, source, backend, client, reporter) as tools,
    ):
        build = Build(request, source, tools)
        plan = build.resolve()
        return build.describe(plan, decide(plan, tools.cache.steps if tools.cache is not None else None))


def _built(image: FinishedImage) -> ImageBuilt:
    layers = tuple(BuiltLayer(str(layer.digest), layer.size_bytes) for layer in image.manifest.layers)
    platform = str(image.descriptor.platform)
    return ImageBuilt(str(image.descriptor.digest), str(image.config_digest), platform, layers)
