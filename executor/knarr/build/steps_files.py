"""The instructions that write files without running anything: COPY, ADD, WORKDIR."""

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from knarr.build.stage import StageBuild
from knarr.dockerfile.add_sources import add_sources
from knarr.dockerfile.history import created_by, workdir_created_by
from knarr.dockerfile.ignore import IgnorePatterns
from knarr.dockerfile.instructions import Add, Copy, Workdir
from knarr.dockerfile.remote_sources import GitSource, parse_remote_source, without_credentials
from knarr.errors import DockerfileError
from knarr.rootfs.chmod import ModeChange
from knarr.rootfs.copy import CopyRequest, InlineFile, Source, join_dest, plan_copy
from knarr.rootfs.plan import Owner, plan_workdir
from knarr.rootfs.tree import Tree
from knarr.rootfs.users import read_user_databases, resolve_chown, resolve_user


def step_copy(stage: StageBuild, copy: Copy) -> None:
    """COPY, from the build context, a stage or an image."""
    copy = stage.substitute(copy)
    for text in copy.sources:
        _refuse_remote(text)
    sources = stage.settings.sources
    source = sources.context() if copy.from_ is None else sources.named(copy.from_, stage.index)
    request = _request(stage, copy, copy.sources, parents=copy.parents, keep_owner=copy.from_ is not None)
    _write(stage, copy, request, source)


def step_add(stage: StageBuild, add: Add) -> None:
    """ADD from the build context, whose archives are unpacked, from URLs, from git repositories."""
    add = stage.substitute(add)
    remotes = stage.settings.remotes
    created_ns = stage.settings.created_ns
    with remotes.fetched(add_sources(add), created_ns=created_ns, unpack=bool(add.unpack)) as sources:
        add = replace(add, sources=tuple(without_credentials(text) for text in add.sources))
        request = _request(stage, add, sources, unpack=add.unpack is not False)
        _write(stage, add, request, stage.settings.sources.context())


def step_workdir(stage: StageBuild, workdir: Workdir) -> None:
    """WORKDIR: makes what is missing of the directory, owned by the user."""
    text = stage.substitute(workdir).path
    if not text:
        raise DockerfileError("WORKDIR is empty after its variables are replaced")
    path = posixpath.normpath(posixpath.join("/", stage.image.config.working_dir, text))
    path = f"/{path.lstrip('/')}"
    stage.configure(WorkingDir=path)
    if path == "/":
        stage.record(workdir_created_by(path))
        return
    tree = stage.root.tree()
    user = resolve_user(stage.image.config.user, *read_user_databases(tree))
    owner = Owner(user.uid, user.gid) if stage.image.config.user else None
    items = plan_workdir(path, tree, owner=owner, created_ns=stage.settings.created_ns)
    stage.add_layer(stage.root.write(items), workdir_created_by(path))


def _refuse_remote(text: str) -> None:
    remote = parse_remote_source(text)
    if remote is not None:
        kind = "git ref" if isinstance(remote, GitSource) else "URL"
        raise DockerfileError(
            f"source can't be a {kind} for COPY: {without_credentials(text)}", hint="ADD takes remote sources"
        )


def _write(stage: StageBuild, instruction: Copy | Add, request: CopyRequest, source: Tree) -> None:
    items = plan_copy(request, source, stage.root.tree(), spool=stage.root.spool)
    stage.add_layer(stage.root.write(items), created_by(instruction))


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
        stage.warn(f"--chown={chown}: the image has no {name}; the owner is {owner.uid}:{owner.gid}")
    return Owner(owner.uid, owner.gid)


def _document(name: str, body: str) -> InlineFile:
    return InlineFile.document(name, body.encode("utf-8", "surrogateescape"))
