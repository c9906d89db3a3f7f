"""The mounts of a RUN step: all that they ask for is there while the step runs."""

import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from knarr.builder.mounts.bind_mounts import BindSources
from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.builder.mounts.secret_files import SecretFiles
from knarr.builder.request.credentials import BuildSecrets
from knarr.dockerfile.language.mount import Mount, MountType
from knarr.errors import ContextError, DockerfileError, IsolationError
from knarr.exec import spec
from knarr.exec.abilities import Abilities
from knarr.exec.agent_forwarder import forwarded
from knarr.layers.entry import Kind
from knarr.layers.paths import clean, sort_key
from knarr.rootfs.mount_points import MountPoint, missing_mount_point
from knarr.rootfs.paths import discard_tree
from knarr.rootfs.tree import Tree

_AGENT_VARIABLE = "SSH_AUTH_SOCK"


@dataclass(frozen=True, slots=True)
class StepMounts:
    """What a step is run with: mounts in the order to make them, mount points to make, variables."""

    mounts: tuple[spec.RootMount, ...] = ()
    mount_points: tuple[MountPoint, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


class MountSource(Protocol):
    """Files that a mount shows."""

    def locate(self, path: str) -> tuple[Path, str]:
        """A directory on disk with a path in it where what `path` names lies; it must not be written to."""
        ...


@dataclass(frozen=True, slots=True)
class MountedStep:
    """What the mounts of a step depend on: its image's files as they are before it, its config."""

    mounts: tuple[Mount, ...]
    tree: Tree
    working_dir: str
    has_agent_variable: bool
    """Whether SSH_AUTH_SOCK is set for the step, which then keeps it."""
    sources: Mapping[Mount, MountSource] = field(default_factory=dict)
    """Where binds and new caches have their files from."""


@dataclass(frozen=True, slots=True)
class MountProviders:
    """What the mounts of a build come from."""

    caches: CacheMounts
    credentials: BuildSecrets
    work_dir: Path
    abilities: Abilities


@contextmanager
def step_mounts(step: MountedStep, providers: MountProviders) -> Iterator[StepMounts]:
    """Prepare the mounts of a step; they are good until the block ends.

    Raises DockerfileError, ContextError for a source that is missing, IsolationError, OutputError for a
    directory of caches that is of no use, RegistryError for an image that they come from.
    """
    if not step.mounts:
        yield StepMounts()
        return
    place = Path(tempfile.mkdtemp(prefix="mounts-", dir=providers.work_dir))
    with ExitStack() as exits:
        exits.callback(discard_tree, place)
        yield _Preparation(step, providers, place, exits).prepare()


@dataclass(frozen=True, slots=True)
class _Content:
    """What comes to lie at a target: something on disk, or memory where `source` is None."""

    target: str
    source: Path | None
    readonly: bool
    options: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        return self.source is None or self.source.is_dir()


class _Preparation:
    """The mounts of one step in the making."""

    def __init__(self, step: MountedStep, providers: MountProviders, place: Path, exits: ExitStack) -> None:
        self._step = step
        self._providers = providers
        self._place = place
        self._exits = exits
        self._sources = BindSources(place, exits, providers.abilities)
        self._secrets = SecretFiles(place / "secrets", exits, providers.abilities)
        self._caches: dict[str, Path] = {}
        self._env: dict[str, str] = {}
        self._agents = 0

    def prepare(self) -> StepMounts:
        """Everything that the mounts ask for, in the order to mount it."""
        mounts = self._step.mounts
        self._open_caches([mount for mount in mounts if mount.type is MountType.CACHE])
        contents = [content for mount in mounts if (content := _PREPARE[mount.type](self, mount)) is not None]
        contents.sort(key=lambda content: sort_key(content.target))  # a mount before those on top of it
        made: list[spec.RootMount] = []
        mount_points: dict[MountPoint, None] = {}
        taken: list[str] = []
        for content in contents:
            resolved = self._step.tree.resolve(clean(content.target))
            is_nested = any(f"{resolved}/".startswith(f"{earlier}/") for earlier in taken)
            if not is_nested and not content.target.startswith("/dev/"):
                points = missing_mount_point(
                    self._step.tree, content.target, is_directory=content.is_directory
                )
                mount_points.update(dict.fromkeys(points))
            taken.append(resolved)
            made.append(
                spec.RootMount(
                    target=PurePosixPath(content.target),
                    source=content.source,
                    readonly=content.readonly,
                    options=content.options,
                    make_target=is_nested,
                )
            )
        return StepMounts(tuple(made), tuple(mount_points), self._env)

    def bind(self, mount: Mount) -> _Content:
        """A part of the build context, of a stage, an image or a named context."""
        held = self._hold(mount)
        return _Content(
            self._target(mount.target),
            held if mount.read_only else self._sources.writable(held),
            mount.read_only,
        )

    def cache(self, mount: Mount) -> _Content:
        """A directory that outlives the step."""
        directory = self._caches[self._providers.caches.name(mount)]
        return _Content(self._target(mount.target), directory, mount.read_only)

    def tmpfs(self, mount: Mount) -> _Content:
        """Memory; it looks as the directory that it covers."""
        target = self._target(mount.target)
        options = [f"size={mount.size_bytes}"] if mount.size_bytes else []
        covered = self._step.tree.lookup(self._step.tree.resolve(clean(target)))
        if covered is not None and covered.kind is Kind.DIRECTORY:
            options.append(f"mode={covered.mode:o}")
        return _Content(target, None, mount.read_only, tuple(options))

    def secret(self, mount: Mount) -> _Content | None:
        """A file in memory, a variable, or both; nothing where it was not given."""
        data = self._providers.credentials.secret(mount)
        if data is None:
            return None
        if mount.env is not None:
            self._env[mount.env] = data.decode(errors="surrogateescape")
        if mount.target is None:
            return None
        file = self._secrets.write(mount, data)
        return _Content(self._target(mount.target), file, readonly=True, options=("noexec",))

    def ssh(self, mount: Mount) -> _Content | None:
        """The socket of an agent; nothing where it was not given."""
        target = self._target(mount.target or f"/run/buildkit/ssh_agent.{self._agents}")
        self._agents += 1
        socket = self._providers.credentials.agent(mount)
        if socket is None:
            return None
        if not self._step.has_agent_variable:
            self._env.setdefault(_AGENT_VARIABLE, target)
        return _Content(target, self._forward(mount, socket), readonly=True)

    def _forward(self, mount: Mount, socket: Path) -> Path:
        place = self._place / f"agent{self._agents}"
        owner = None if self._providers.abilities.single_id else (mount.uid, mount.gid)
        try:
            self._exits.enter_context(forwarded(place, socket, mode=mount.mode, owner=owner))
        except OSError as error:
            raise IsolationError(f"can't pass the SSH agent {mount.id} on: {error.strerror}") from error
        return place

    def _open_caches(self, mounts: Sequence[Mount]) -> None:
        """Open each cache once, in one order for all builds, so that none waits for another in a circle."""
        caches = self._providers.caches
        for mount in sorted(mounts, key=caches.name):
            name = caches.name(mount)
            if name not in self._caches:
                opened = caches.open(mount, partial(self._fill_cache, mount))
                self._caches[name] = self._exits.enter_context(opened)

    def _fill_cache(self, mount: Mount, target: Path) -> None:
        if mount.from_ is not None:
            held = self._hold(mount)
            if not held.is_dir():
                raise ContextError(f"the source of the cache mount {mount.id} is not a directory")
            self._sources.copy(held, target)
            return
        target.mkdir()
        if not self._providers.abilities.single_id:
            os.chown(target, mount.uid, mount.gid)
        target.chmod(mount.mode)

    def _hold(self, mount: Mount) -> Path:
        directory, path = self._step.sources[mount].locate(mount.source)
        return self._sources.hold(directory, path, mount.from_ or "the build context")

    def _target(self, target: str | None) -> str:
        assert target is not None, "only secrets and agents have no target"
        path = clean(posixpath.join("/", self._step.working_dir, target))
        if not path:
            raise DockerfileError(
                f'invalid mount target "{target}"', hint="a mount can't cover the whole root"
            )
        return f"/{path}"


_PREPARE: Mapping[MountType, Callable[[_Preparation, Mount], _Content | None]] = {
    MountType.BIND: _Preparation.bind,
    MountType.CACHE: _Preparation.cache,
    MountType.TMPFS: _Preparation.tmpfs,
    MountType.SECRET: _Preparation.secret,
    MountType.SSH: _Preparation.ssh,
}
