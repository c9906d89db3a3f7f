"""Keys of what steps take from outside their stage."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from knarr.builder.cache.keys import content_key, paths_key
from knarr.rootfs.copy import CopyRequest, plan_copy
from knarr.rootfs.tree import EmptyTree, Tree


@dataclass(frozen=True, slots=True)
class StageSource:
    """A stage that something is copied from: its key where known, a way to its files."""

    index: int


@dataclass(frozen=True, slots=True)
class FixedSource:
    """Something whose key is known without its files: an image."""

    key: str


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Files on this machine: the build context, a named one."""

    name: str
    tree: Callable[[], Tree]


NamedSource = StageSource | FixedSource | FilesSource


class ContentKeys:
    """Keys of files by content, each computed once a build."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], str] = {}

    def of_files(self, source: FilesSource, request: CopyRequest) -> str:
        """Of files of a context: owners and the umask of the checkout don't count."""
        place = (source.name, *request_parts(request))
        if place not in self._known:
            items = plan_copy(replace(request, keep_owner=False), source.tree(), EmptyTree())
            self._known[place] = content_key(items, keeps_owner=False)
        return self._known[place]

    def of_stage(self, index: int, tree: Tree, request: CopyRequest) -> str:
        """Of files of a stage that was built, owners and modes included."""
        place = (str(index), "stage", *request_parts(request))
        if place not in self._known:
            items = plan_copy(replace(request, keep_owner=True), tree, EmptyTree())
            self._known[place] = content_key(items, keeps_owner=True)
        return self._known[place]


def stage_paths_key(stage_key: str, request: CopyRequest) -> str:
    """The key of what a stage has at the paths of a request."""
    return paths_key(stage_key, request_parts(request))


def request_parts(request: CopyRequest) -> tuple[str, ...]:
    """The sources of a request as parts of a key."""
    exclude: tuple[str, ...] = ()
    if request.exclude is not None:
        exclude = tuple(f"{'!' if each.includes else ''}{each.text}" for each in request.exclude.patterns)
    sources = tuple(str(source) for source in request.sources)
    return (f"parents={request.parents}", str(len(exclude)), *exclude, *sources)
