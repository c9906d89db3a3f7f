"""Keys of what steps take from outside their stage."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from knarr.builder.cache.entry import CacheEntry
from knarr.builder.cache.keys import chain_id, content_key, paths_key
from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.state import CacheState
from knarr.builder.plan.steps import FilesInput, Inputs, LayerStep, Origin, Part, RemoteInput
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.stages.stages import ScratchReference, StageReference
from knarr.rootfs.copying.copy import CopyRequest, plan_copy
from knarr.rootfs.tree import EmptyTree, Tree


class FileSource(Protocol):
    """Files to make a key of."""

    def tree(self) -> Tree:
        """The files."""
        ...


class LocalFiles(Protocol):
    """The directories of this machine that steps take files from."""

    def get(self, origin: Origin) -> FileSource:
        """The directory of an origin."""
        ...


class InputKeys:
    """What is known by now of the inputs of a build's steps; each key is computed once.

    Files of directories are known by their content, images by their layers. A stage is known by the key of
    its last step, and the cache may remember what some stage of that key has at some paths.
    """

    def __init__(self, cache: LayerCache, files: LocalFiles, *, created_s: int) -> None:
        self._cache = cache
        self._files = files
        self._created_s = created_s
        self._contents: dict[tuple[str, ...], str] = {}
        self._stages: dict[int, str] = {}

    def know_stage(self, index: int, end: CacheState) -> None:
        """Remember the key of a whole stage, but of none that is to be run each time."""
        if end.key is not None and end.is_repeatable:
            self._stages[index] = end.key

    def inputs(self, step: LayerStep, remote_contents: Sequence[str] = ()) -> Inputs | None:
        """All inputs of a step; None where one is not known before something is built or fetched.

        `remote_contents` are the digests and commits of what ADD fetched, where it did.
        """
        known: list[Part] = []
        for each in step.inputs:
            match each:
                case FilesInput():
                    key = self._files_key(each)
                case RemoteInput(source, number):
                    key = remote_contents[number] if remote_contents else source.known_content
                case word:
                    known.append(word)
                    continue
            if not key:
                return None
            known.append(key)
        return tuple(known)

    def unknown_stages(self, step: LayerStep) -> list[FilesInput]:
        """Inputs of a step that lie in stages and are not known yet."""
        return [
            each
            for each in step.inputs
            if isinstance(each, FilesInput)
            and isinstance(each.origin, StageReference)
            and not self._files_key(each)
        ]

    def read_stage(self, wanted: FilesInput, tree: Tree) -> None:
        """Learn what a stage has at some paths from its files, and keep that in the cache."""
        assert isinstance(wanted.origin, StageReference)
        index = wanted.origin.index
        items = plan_copy(replace(wanted.request, keep_owner=True), tree, EmptyTree())
        content = self._contents[_stage_place(index, wanted.request)] = content_key(items, keeps_owner=True)
        if index in self._stages:
            key = _paths_key(self._stages[index], wanted.request)
            self._cache.keep(CacheEntry(None, key, "", self._created_s, content))

    def _files_key(self, wanted: FilesInput) -> str:
        """The key of files; empty where it is not known yet."""
        if wanted.image is not None:
            return chain_id(layer.diff_id for layer in wanted.image.layers)
        match wanted.origin:
            case StageReference(index):
                return self._stage_files_key(index, wanted.request)
            case ScratchReference():
                return "scratch"
            case origin:
                return self._directory_key(origin, wanted.request)

    def _directory_key(self, origin: Origin, request: CopyRequest) -> str:
        """Of files of a context: owners and the umask of the checkout don't count."""
        place = (str(origin), *_request_parts(request))
        if place not in self._contents:
            tree = self._files.get(origin).tree()
            items = plan_copy(replace(request, keep_owner=False), tree, EmptyTree())
            self._contents[place] = content_key(items, keeps_owner=False)
        return self._contents[place]

    def _stage_files_key(self, index: int, request: CopyRequest) -> str:
        read = self._contents.get(_stage_place(index, request))
        if read is not None:
            return read
        if index in self._stages:
            verdict = self._cache.verdict(_paths_key(self._stages[index], request), below="")
            if verdict.entry is not None:
                return verdict.entry.content
        return ""


def _stage_place(index: int, request: CopyRequest) -> tuple[str, ...]:
    return (str(index), "stage", *_request_parts(request))


def _paths_key(stage_key: str, request: CopyRequest) -> str:
    """The key of what a stage has at the paths of a request."""
    return paths_key(stage_key, _request_parts(request))


def _request_parts(request: CopyRequest) -> tuple[str, ...]:
    """The sources of a request as parts of a key."""
    exclude: tuple[str, ...] = ()
    if isinstance(request.exclude, IgnorePatterns):
        exclude = tuple(f"{'!' if each.includes else ''}{each.text}" for each in request.exclude.patterns)
    sources = tuple(str(source) for source in request.sources)
    return (f"parents={request.parents}", str(len(exclude)), *exclude, *sources)
