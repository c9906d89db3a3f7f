"""The instructions that write files without running anything: COPY, ADD, WORKDIR."""

from collections.abc import Sequence
from dataclasses import replace

from knarr.builder.plan.state import StageState
from knarr.builder.plan.steps import (
    AddStep,
    CopyStep,
    Input,
    Inputs,
    LayerStep,
    RemoteInput,
    WorkdirStep,
)
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.add_sources import AddSource, add_sources
from knarr.dockerfile.language.history import created_by, workdir_created_by
from knarr.dockerfile.language.instructions import Add, Copy, Workdir
from knarr.dockerfile.language.remote_sources import (
    GitSource,
    HttpSource,
    parse_remote_source,
    without_credentials,
)
from knarr.dockerfile.syntax.text import clean_path
from knarr.errors import DockerfileError
from knarr.rootfs.copying.chmod import ModeChange
from knarr.rootfs.copying.copy import CopyRequest, InlineFile, join_dest
from knarr.rootfs.copying.sources import check_pattern


def plan_copy_step(state: StageState, copy: Copy) -> LayerStep:
    """COPY, from the build context, a stage or an image."""
    copy = state.substitute(copy)
    for text in copy.sources:
        _refuse_remote(text)
        check_pattern(text, parents=copy.parents)
    origin = state.origin(copy.from_, numbered=True) if copy.from_ is not None else None
    source: Input = (
        state.files(origin, _wanted(copy, copy.sources, parents=copy.parents)) if copy.sources else ""
    )
    inputs = (*_words(state, copy), f"parents={copy.parents}", f"from={copy.from_ is not None}", source)
    request = _request(state, copy, copy.sources, parents=copy.parents, keep_owner=copy.from_ is not None)
    state.record(created_by(copy), makes_layer=True)
    return CopyStep(inputs, origin, request, copy.chown)


def plan_add_step(state: StageState, add: Add) -> LayerStep:
    """ADD from the build context, whose archives are unpacked, from URLs, from git repositories."""
    add = state.substitute(add)
    sources = add_sources(add)
    local = [source for source in sources if isinstance(source, str)]
    for text in local:
        check_pattern(text, parents=False)
    shown = replace(add, sources=tuple(without_credentials(text) for text in add.sources))
    source: Input = state.files(None, _wanted(add, local)) if local else ""
    inputs = (*_words(state, shown), f"unpack={add.unpack}", *_remote_inputs(sources), source)
    request = _request(state, add, (), unpack=add.unpack is not False)
    state.record(created_by(shown), makes_layer=True)
    return AddStep(inputs, sources, request, add.chown, unpacks_downloads=bool(add.unpack))


def plan_workdir_step(state: StageState, workdir: Workdir) -> LayerStep | None:
    """WORKDIR: makes what is missing of the directory, owned by the user; None for the root."""
    path = _working_dir(state.config.working_dir, state.substitute(workdir).path)
    state.configure(WorkingDir=path)
    state.record(workdir_created_by(path), makes_layer=path != "/")
    user = state.config.user
    if path == "/":
        return None
    return WorkdirStep(("WORKDIR", path, user), path, user, state.around.created_ns)


def _working_dir(current: str, text: str) -> str:
    """What WORKDIR `text` makes of a working directory: an absolute path stays as it is written."""
    path = text or current or "/"
    return path if path.startswith("/") else clean_path(f"/{current}/{path}")


def _refuse_remote(text: str) -> None:
    remote = parse_remote_source(text)
    if remote is not None:
        kind = "git ref" if isinstance(remote, GitSource) else "URL"
        raise DockerfileError(
            f"source can't be a {kind} for COPY: {without_credentials(text)}", hint="ADD takes remote sources"
        )


def _words(state: StageState, instruction: Copy | Add) -> Inputs:
    """What a COPY or ADD says, but for where its sources come from."""
    return (
        instruction.KEYWORD,
        join_dest(state.config.working_dir, instruction.destination),
        f"chown={instruction.chown}",
        f"chmod={instruction.chmod}",
        f"link={instruction.link}",
        str(len(instruction.exclude)),
        *instruction.exclude,
        str(len(instruction.sources)),
        *instruction.sources,
        *(part for file in instruction.files for part in (file.name, file.body)),
    )


def _remote_inputs(sources: Sequence[AddSource]) -> tuple[Input, ...]:
    """What the remote sources give: their content, then what else decides which files that are."""
    remotes = [source for source in sources if not isinstance(source, str)]
    return tuple(
        part
        for number, source in enumerate(remotes)
        for part in (RemoteInput(source, number), *_options(source))
    )


def _options(source: HttpSource | GitSource) -> Inputs:
    if isinstance(source, HttpSource):
        return ("http", source.name)
    kept = f"{source.keep_git_dir} {source.remote if source.keep_git_dir else ''}"
    return ("git", source.subdir, kept, str(source.submodules), source.mtime)


def _wanted(instruction: Copy | Add, sources: Sequence[str], *, parents: bool = False) -> CopyRequest:
    """The sources of a COPY or ADD alone, wherever they go."""
    return CopyRequest(
        dest="/sources/",
        sources=tuple(sources),
        parents=parents,
        exclude=IgnorePatterns.from_flags(instruction.exclude) if instruction.exclude else None,
    )


def _request(
    state: StageState,
    instruction: Copy | Add,
    sources: Sequence[str],
    *,
    parents: bool = False,
    keep_owner: bool = False,
    unpack: bool = False,
) -> CopyRequest:
    return CopyRequest(
        dest=join_dest(state.config.working_dir, instruction.destination),
        sources=tuple(sources),
        files=tuple(
            InlineFile.document(file.name, file.body.encode("utf-8", "surrogateescape"))
            for file in instruction.files
        ),
        keep_owner=keep_owner,
        chmod=ModeChange.parse(instruction.chmod) if instruction.chmod is not None else None,
        link=instruction.link,
        parents=parents,
        exclude=IgnorePatterns.from_flags(instruction.exclude) if instruction.exclude else None,
        unpack=unpack,
        created_ns=state.around.created_ns,
    )
