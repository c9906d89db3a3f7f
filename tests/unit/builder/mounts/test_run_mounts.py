"""The mounts of one step, where nothing can be mounted: what is made, in which order, with which words."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.builder.mounts.run_mounts import MountedStep, MountProviders, StepMounts, step_mounts
from knarr.builder.request.credentials import BuildSecrets
from knarr.dockerfile.language.mount import Mount, parse_mount
from knarr.errors import ContextError, DockerfileError
from knarr.exec import spec
from knarr.progress import Silent
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.mount_points import MountPoint
from support.fake_backend import PLAIN
from support.trees import write_tree

DIRECTORY, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644
IMAGE = ["d etc", "f etc/passwd =root", "d tmp 1777", "d src", "l link -> /src"]


class Bench:
    """An image on disk, a build context, caches."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("work", "context/sub"):
            (place / name).mkdir(parents=True)
        (place / "context/sub/file").write_text("x")
        self._root_fd = os.open(write_tree(place / "root", IMAGE), os.O_PATH)
        self._tree = DirTree(self._root_fd)
        self.asked: list[str | None] = []
        self.credentials = BuildSecrets({"token": b"hush"})

    def close(self) -> None:
        self._tree.close()
        os.close(self._root_fd)

    def providers(self) -> MountProviders:
        return MountProviders(
            caches=CacheMounts(self.place / "caches", "", Silent(), can_share=False),
            credentials=self.credentials,
            work_dir=self.place / "work",
            abilities=PLAIN,
        )

    def step(self, *flags: str, has_agent_variable: bool = False) -> MountedStep:
        mounts = tuple(parse_mount(flag, str) for flag in flags)
        return MountedStep(
            mounts, self._tree, "/src", has_agent_variable, {each: _Asked(self, each) for each in mounts}
        )

    def prepared(self, *flags: str) -> StepMounts:
        with step_mounts(self.step(*flags), self.providers()) as prepared:
            return prepared


class _Asked:
    """The context as the source of a mount; notes that it was asked for."""

    def __init__(self, bench: Bench, mount: Mount) -> None:
        self._bench = bench
        self._mount = mount

    def locate(self, path: str) -> tuple[Path, str]:
        self._bench.asked.append(self._mount.from_)
        return self._bench.place / "context", path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def targets(prepared: StepMounts) -> list[str]:
    return [str(mount.target) for mount in prepared.mounts]


def test_a_step_without_mounts_needs_nothing(bench: Bench) -> None:
    assert bench.prepared() == StepMounts()
    assert os.listdir(bench.place / "work") == []


def test_a_bind_is_there_until_the_step_ends(bench: Bench) -> None:
    step = bench.step("type=bind,from=base,source=sub,target=here")
    with step_mounts(step, bench.providers()) as prepared:
        (mount,) = prepared.mounts
        assert (mount.target, mount.readonly) == (PurePosixPath("/src/here"), True)
        assert mount.source is not None
        assert (mount.source / "file").read_text() == "x"
        assert prepared.mount_points == (MountPoint("src/here", DIRECTORY),)
    assert bench.asked == ["base"]
    assert os.listdir(bench.place / "work") == []


def test_a_missing_source_names_where_it_should_be(bench: Bench) -> None:
    with pytest.raises(ContextError, match="/absent of the build context, can't be found"):
        bench.prepared("type=bind,source=absent,target=/etc")
    with pytest.raises(ContextError, match="/absent of base, can't be found"):
        bench.prepared("type=bind,from=base,source=absent,target=/etc")
    assert os.listdir(bench.place / "work") == []


def test_what_lies_on_top_comes_later_and_needs_no_mount_point(bench: Bench) -> None:
    prepared = bench.prepared(
        "type=tmpfs,target=/link/a/b", "type=tmpfs,target=/link/a", "type=tmpfs,target=/z"
    )
    assert targets(prepared) == ["/link/a", "/link/a/b", "/z"]
    assert [mount.make_target for mount in prepared.mounts] == [False, True, False]
    assert prepared.mount_points == (MountPoint("src/a", DIRECTORY), MountPoint("z", DIRECTORY))


def test_memory_looks_as_what_it_covers(bench: Bench) -> None:
    prepared = bench.prepared("type=tmpfs,target=/tmp,size=1k", "type=tmpfs,target=/new")
    assert prepared.mounts == (
        spec.RootMount(PurePosixPath("/new"), None, readonly=False),
        spec.RootMount(PurePosixPath("/tmp"), None, readonly=False, options=("size=1024", "mode=1777")),
    )


@pytest.mark.parametrize("target", ["..", "../.."])
def test_the_whole_root_is_no_target(bench: Bench, target: str) -> None:
    with pytest.raises(DockerfileError, match="invalid mount target") as raised:
        bench.prepared(f"type=tmpfs,target={target}")
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("a mount can't cover the whole root")


def test_a_cache_starts_as_its_source_and_is_opened_once(bench: Bench) -> None:
    flags = [f"type=cache,id=c,source=sub,from=base,target=/{name}" for name in ("one", "two")]
    one, two = bench.prepared(*flags).mounts
    assert one.source == two.source
    assert one.source is not None
    assert os.listdir(one.source) == ["file"]
    assert bench.asked == ["base"]
    bench.prepared(*flags)
    assert bench.asked == ["base"]


def test_an_empty_cache_has_its_mode(bench: Bench) -> None:
    (mount,) = bench.prepared("type=cache,target=/c,mode=0750").mounts
    assert mount.source is not None
    assert stat.S_IMODE(mount.source.stat().st_mode) == 0o750


def test_a_cache_that_starts_as_a_file_is_refused(bench: Bench) -> None:
    with pytest.raises(ContextError, match="the source of the cache mount c is not a directory"):
        bench.prepared("type=cache,id=c,source=sub/file,from=base,target=/c")


def test_a_secret_is_a_file_a_variable_or_both(bench: Bench) -> None:
    with step_mounts(
        bench.step(
            "type=secret,id=token,env=A", "type=secret,id=token,env=B,target=/b", "type=secret,id=token"
        ),
        bench.providers(),
    ) as prepared:
        assert prepared.env == {"A": "hush", "B": "hush"}
        assert targets(prepared) == ["/b", "/run/secrets/token"]
        for mount in prepared.mounts:
            assert mount.source is not None
            assert mount.source.read_bytes() == b"hush"
        assert MountPoint("run/secrets/token", FILE) in prepared.mount_points


def test_a_secret_that_was_not_given_is_missing_unless_it_is_required(bench: Bench) -> None:
    assert bench.prepared("type=secret,id=other,env=A") == StepMounts()
    with pytest.raises(DockerfileError, match="the secret other is required, but was not given"):
        bench.prepared("type=secret,id=other,required")


@pytest.mark.parametrize("has_agent_variable", [False, True])
def test_an_agent_is_a_socket_with_its_variable(bench: Bench, has_agent_variable: bool) -> None:  # noqa: FBT001
    with socket.socket(socket.AF_UNIX) as agent:
        path = bench.place / "agent"
        descriptor = os.open(bench.place, os.O_PATH)
        agent.bind(f"/proc/self/fd/{descriptor}/agent")
        os.close(descriptor)
        bench.credentials = BuildSecrets(agents={"default": path})
        step = bench.step("type=ssh", has_agent_variable=has_agent_variable)
        with step_mounts(step, bench.providers()) as prepared:
            (mount,) = prepared.mounts
            assert mount.source is not None
            assert mount.source.is_socket()
            wanted = {} if has_agent_variable else {"SSH_AUTH_SOCK": "/run/buildkit/ssh_agent.0"}
            assert prepared.env == wanted
    assert targets(prepared) == ["/run/buildkit/ssh_agent.0"]
    assert os.listdir(bench.place / "work") == []
