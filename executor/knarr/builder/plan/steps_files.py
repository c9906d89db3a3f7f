"""The instructions that write files without running anything: COPY, ADD, WORKDIR."""

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from knarr.builder.plan.layer_step import Inputs, LayerStep, SourceKeys
from knarr.builder.plan.stage import StageBuild, StageState
from knarr.builder.sources.add_sources import AddSources
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.add_sources import add_sources
from knarr.dockerfile.language.history import created_by, workdir_created_by
from knarr.dockerfile.language.instructions import Add, Copy, Workdir
from knarr.dockerfile.language.remote_sources import GitSource, parse_remote_source, without_credentials
from knarr.errors import DockerfileError
from knarr.images.image import Layer
from knarr.rootfs.chmod import ModeChange
from knarr.rootfs.copy import CopyRequest, InlineFile, Source, join_dest, plan_copy
from knarr.rootfs.plan import Owner, plan_workdir
from knarr.rootfs.tree import Tree
from knarr.rootfs.users import read_user_databases, resolve_chown, resolve_user


def copy_step(state: StageState, copy: Copy) -> LayerStep:
    """COPY, from the build context, a stage or an image."""
    copy = state.substitute(copy)
    for text in copy.sources:
        _refuse_remote(text)
    _check_words(copy)

    def inputs(keys: SourceKeys) -> Inputs:
        wanted = _wanted(copy, copy.sources, parents=copy.parents)
        if not copy.sources:
            source = ""
        elif copy.from_ is None:
            source = keys.context(wanted)
        else:
            source = keys.named(copy.from_, state.index, wanted, numbered=True)
        return (*_words(state, copy), f"parents={copy.parents}", f"from={copy.from_ is not None}", source)

    def make(stage: StageBuild) -> Layer:
        sources = stage.settings.sources
        source = sources.context() if copy.from_ is None else sources.named(copy.from_, stage.index)
        keep_owner = copy.from_ is not None
        request = _request(stage, copy, copy.sources, parents=copy.parents, keep_owner=keep_owner)
        return _write(stage, request, source)

    return LayerStep(created_by(copy), inputs, make, is_run=False)


def add_step(state: StageState, add: Add) -> LayerStep:
    """ADD from the build context, whose archives are unpacked, from URLs, from git repositories."""
    add = state.substitute(add)
    wanted = add_sources(add)
    _check_words(add)
    local = [source for source in wanted if isinstance(source, str)]
    shown = replace(add, sources=tuple(without_credentials(text) for text in add.sources))
    remotes = AddSources(state, wanted, unpack=bool(add.unpack))

    def inputs(keys: SourceKeys) -> Inputs:
        source = keys.context(_wanted(add, local)) if local else ""
        return (*_words(state, shown), f"unpack={add.unpack}", *remotes.inputs(), source)

    def make(stage: StageBuild) -> Layer:
        request = _request(stage, add, remotes.fetch().sources, unpack=add.unpack is not False)
        return _write(stage, request, stage.settings.sources.context())

    prepare = remotes.prepare if len(local) < len(wanted) else None
    return LayerStep(created_by(shown), inputs, make, is_run=False, prepare=prepare, release=remotes.release)


def workdir_step(state: StageState, workdir: Workdir) -> LayerStep | None:
    """WORKDIR: makes what is missing of the directory, owned by the user; None for the root."""
    text = state.substitute(workdir).path
    if not text:
        raise DockerfileError("WORKDIR is empty after its variables are replaced")
    path = posixpath.normpath(posixpath.join("/", state.image.config.working_dir, text))
    path = f"/{path.lstrip('/')}"
    state.configure(WorkingDir=path)
    if path == "/":
        state.record(workdir_created_by(path))
        return None
    user_text = state.image.config.user

    def inputs(_: SourceKeys) -> Inputs:
        return ("WORKDIR", path, user_text)

    def make(stage: StageBuild) -> Layer:
        tree = stage.root.tree()
        user = resolve_user(user_text, *read_user_databases(tree))
        owner = Owner(user.uid, user.gid) if user_text else None
        items = plan_workdir(path, tree, owner=owner, created_ns=stage.settings.created_ns)
        return stage.root.write(items)

    return LayerStep(workdir_created_by(path), inputs, make, is_run=True)


def _refuse_remote(text: str) -> None:
    remote = parse_remote_source(text)
    if remote is not None:
        kind = "git ref" if isinstance(remote, GitSource) else "URL"
        raise DockerfileError(
            f"source can't be a {kind} for COPY: {without_credentials(text)}", hint="ADD takes remote sources"
        )


def _check_words(instruction: Copy | Add) -> None:
    """Refuse what can't be right before anything is made for it."""
    if instruction.chmod is not None:
        ModeChange.parse(instruction.chmod)
    IgnorePatterns.from_flags(instruction.exclude)


def _words(state: StageState, instruction: Copy | Add) -> Inputs:
    """What a COPY or ADD says, but for where its sources come from."""
    return (
        instruction.KEYWORD,
        join_dest(state.image.config.working_dir, instruction.destination),
        f"chown={instruction.chown}",
        f"chmod={instruction.chmod}",
        f"link={instruction.link}",
        str(len(instruction.exclude)),
        *instruction.exclude,
        str(len(instruction.sources)),
        *instruction.sources,
        *(part for file in instruction.files for part in (file.name, file.body)),
    )


def _wanted(instruction: Copy | Add, sources: Sequence[str], *, parents: bool = False) -> CopyRequest:
    """The sources of a COPY or ADD alone, wherever they go."""
    return CopyRequest(
        dest="/sources/",
        sources=tuple(sources),
        parents=parents,
        exclude=IgnorePatterns.from_flags(instruction.exclude) if instruction.exclude else None,
    )


def _write(stage: StageBuild, request: CopyRequest, source: Tree) -> Layer:
    return stage.root.write(plan_copy(request, source, stage.root.tree(), spool=stage.root.spool))


def _request(
    stage: StageBuild,
    instruction: Copy | Add,
    sources: Sequence[Source],
    *,
    parents: bool = False,
    keep_owner: bool = False,
    unpack: bool = False,
) -> CopyRequest:
    return CopyRequest(
        dest=join_dest(stage.image.config.working_dir, instruction.destination),
        sources=tuple(sources),
        files=tuple(_document(file.name, file.body) for file in instruction.files),
        keep_owner=keep_owner,
        chown=_owner(stage, instruction.chown),
        chmod=ModeChange.parse(instruction.chmod) if instruction.chmod is not None else None,
        link=instruction.link,
        parents=parents,
        exclude=IgnorePatterns.from_flags(instruction.exclude) if instruction.exclude else None,
        unpack=unpack,
        created_ns=stage.settings.created_ns,
        ignored=None if keep_owner else stage.settings.sources.is_ignored,
    )


def _owner(stage: StageBuild, chown: str | None) -> Owner | None:
    if chown is None:
        return None
    owner = resolve_chown(chown, *read_user_databases(stage.root.tree()))
    for name in owner.unknown:
        stage.warn(f"--chown={chown}: the image has no {name}; it counts as 0")
    return Owner(owner.uid, owner.gid)


def _document(name: str, body: str) -> InlineFile:
    return InlineFile.document(name, body.encode("utf-8", "surrogateescape"))
