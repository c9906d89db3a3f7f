"""Makes the layer of a step: COPY, ADD, WORKDIR and RUN at work."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from knarr.builder.mounts.run_mounts import MountedStep, step_mounts
from knarr.builder.plan.steps import AddStep, CopyStep, LayerStep, Origin, RunStep, Step, WorkdirStep
from knarr.builder.roots.backend import StepCommand
from knarr.builder.roots.stage_root import StageRoot
from knarr.builder.run.tools import Tools
from knarr.builder.sources.add_sources import AddSources
from knarr.builder.sources.sources import Source
from knarr.dockerfile.language.run_script import SCRIPT_DIRECTORY, ScriptFile
from knarr.exec import spec
from knarr.images.image import Layer
from knarr.progress import Note
from knarr.rootfs.copying.copy import plan_copy
from knarr.rootfs.layer_draft import Owner, plan_workdir
from knarr.rootfs.users import UserSpec, read_user_databases, resolve_chown, resolve_user


@dataclass(frozen=True, slots=True)
class StepWork:
    """A step whose layer must be made, with all that it needs at hand."""

    step: Step
    stage_name: str
    root: StageRoot
    sources: Mapping[Origin, Source]
    """Where its files come from, by the origins that the step names."""
    fetched: AddSources | None
    """The remote sources of an ADD."""
    tools: Tools


def make_layer(work: StepWork) -> Layer:
    """Make the layer, add it to the root; raises RunError with the status of a process that failed."""
    assert work.step.layer is not None
    return _MAKERS[type(work.step.layer)](work, work.step.layer)


def _copy(work: StepWork, step: CopyStep) -> Layer:
    ignored = work.tools.directories.context.is_ignored if step.origin is None else None
    request = replace(step.request, chown=_owner(work, step.chown), ignored=ignored)
    source = work.sources[step.origin].tree()
    return work.root.write(plan_copy(request, source, work.root.tree(), spool=work.root.spool))


def _add(work: StepWork, step: AddStep) -> Layer:
    assert work.fetched is not None
    request = replace(
        step.request,
        sources=work.fetched.fetch().sources,
        chown=_owner(work, step.chown),
        ignored=work.tools.directories.context.is_ignored,
    )
    source = work.sources[None].tree()
    return work.root.write(plan_copy(request, source, work.root.tree(), spool=work.root.spool))


def _make_directory(work: StepWork, step: WorkdirStep) -> Layer:
    tree = work.root.tree()
    user = resolve_user(step.user, *read_user_databases(tree))
    owner = Owner(user.uid, user.gid) if step.user else None
    return work.root.write(plan_workdir(step.path, tree, owner=owner, created_ns=step.created_ns))


def _run(work: StepWork, step: RunStep) -> Layer:
    sources = {mount: work.sources[origin] for mount, origin in step.mount_origins.items()}
    mounted = MountedStep(step.mounts, work.root.tree(), step.working_dir, step.has_agent_variable, sources)
    with step_mounts(mounted, work.tools.mounts) as prepared:
        user = resolve_user(step.user, *read_user_databases(work.root.tree()))
        script = step.script.file
        command = StepCommand(
            argv=step.script.argv,
            env={**_environment(step, user), **prepared.env},
            working_dir=step.working_dir,
            user=user,
            network=step.network,
            hosts=step.settings.hosts,
            shm_bytes=step.settings.shm_bytes,
            limits=step.settings.ulimits,
            mounts=(*([_script_mount(work, script)] if script is not None else []), *prepared.mounts),
        )
        return work.root.run(command, prepared.mount_points)


_MAKERS: Mapping[type[LayerStep], Callable[[StepWork, Any], Layer]] = MappingProxyType(
    {AddStep: _add, CopyStep: _copy, RunStep: _run, WorkdirStep: _make_directory}
)


def _environment(step: RunStep, user: UserSpec) -> dict[str, str]:
    """The variables in scope; HOME is from the image's passwd where nothing sets it."""
    environment = dict(step.environment)
    environment.setdefault("HOME", user.home)
    return environment


def _owner(work: StepWork, chown: str | None) -> Owner | None:
    if chown is None:
        return None
    owner = resolve_chown(chown, *read_user_databases(work.root.tree()))
    for name in owner.unknown:
        text = f"{work.stage_name}: --chown={chown}: the image has no {name}; it counts as 0"
        work.tools.reporter.report(Note(text, "warning"))
    return Owner(owner.uid, owner.gid)


def _script_mount(work: StepWork, file: ScriptFile) -> spec.RootMount:
    path = work.tools.work_dir / f"script{work.step.id.replace('/', '-')}"
    path.write_bytes(file.text.encode("utf-8", "surrogateescape"))
    os.chmod(path, 0o755)
    return spec.RootMount(target=PurePosixPath(SCRIPT_DIRECTORY, file.name), source=path, readonly=True)
