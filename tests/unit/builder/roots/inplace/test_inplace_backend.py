"""One directory for all stages in turn, in a directory that stands in for `/`."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from knarr.builder.roots.backend import StepCommand, WriteLayer
from knarr.builder.roots.inplace import own_files
from knarr.builder.roots.inplace.backend import InplaceBackend
from knarr.builder.roots.inplace.root import InplaceRoot
from knarr.errors import IsolationError
from knarr.exec.spec import RootMount
from knarr.layers.entry import LayerItem
from knarr.progress import Event, Note
from knarr.rootfs.users import UserSpec
from support.fillers import files

pytestmark = pytest.mark.root

ROOT = UserSpec(0, 0, (), "/")


class Told:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Note) and event.level == "warning":
            self.warnings.append(event.text)


class Container:
    """A root with a shell and a volume's directory; `kept` is never touched."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        for name in ("bin", "etc", "kept", "work", "deep/volume", "tmp"):
            (self.root / name).mkdir(parents=True)
        (self.root / "bin/sh").write_text("shell")
        (self.root / "bin/ls").hardlink_to(self.root / "bin/sh")
        (self.root / "etc/passwd").write_text("root")
        (self.root / "etc/hosts").write_text("127.0.0.1 here")
        (self.root / "lib").symlink_to("bin")
        (self.root / "tmp").chmod(0o1777)
        (self.root / "kept/file").write_text("mine")
        (self.root / "deep/volume/file").write_text("data")
        self.told = Told()
        kept = [self.root / "kept", self.root / "deep/volume", self.root / "absent"]
        self.backend = InplaceBackend(self.root / "work", kept, self.told, self.root)

    def image(self, *names: str) -> InplaceRoot:
        return self.backend.extract(self.root / "work", files(*names), hash_content=False)

    def names(self) -> list[str]:
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return sorted(name for name in found if not name.startswith("work/"))


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    container = Container(tmp_path)
    yield container
    container.backend.close()


def paths(items: list[LayerItem]) -> list[str]:
    return [item.entry.path for item in items]


def running(script: Callable[[Path], object]) -> Callable[[Path], None]:
    def process(root: Path) -> None:
        script(root)

    return process


PROTECTED_NAMES = ["deep", "deep/volume", "deep/volume/file", "etc", "etc/hosts", "kept", "kept/file", "work"]


def test_the_image_takes_the_place_of_all_but_what_is_protected(container: Container) -> None:
    container.image("usr/bin/tool", "etc/passwd")
    assert container.names() == sorted(
        [*PROTECTED_NAMES, "etc/passwd", "usr", "usr/bin", "usr/bin/tool"],
    )
    assert (container.root / "etc/passwd").read_text() == "etc/passwd"


def test_the_containers_own_files_come_back(container: Container) -> None:
    before = container.names()
    inodes = {name: (container.root / name).stat().st_ino for name in PROTECTED_NAMES}
    root = container.image("usr/bin/tool", "bin")
    root.run(running(lambda at: (at / "more").write_text("x")))
    container.backend.close()
    assert container.names() == before
    assert (container.root / "bin/sh").read_text() == "shell"
    assert (container.root / "bin/sh").samefile(container.root / "bin/ls")
    assert (container.root / "lib").readlink() == Path("bin")
    assert (container.root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert {name: (container.root / name).stat().st_ino for name in PROTECTED_NAMES} == inodes
    container.backend.close()
    assert container.names() == before
    assert container.told.warnings == []


def test_they_come_back_after_an_extraction_that_failed(container: Container) -> None:
    def fail(write: WriteLayer) -> None:
        files("half")(write)
        raise ConnectionError

    before = container.names()
    with pytest.raises(ConnectionError):
        container.backend.extract(container.root / "work", fail, hash_content=False)
    container.backend.close()
    assert container.names() == before


def test_signals_wait_until_they_are_back(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    before = container.names()
    container.image("usr/bin/tool")
    seen: list[list[str]] = []
    put_back = own_files.put_back

    def disturbed(root: Path, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        put_back(root, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == []

    monkeypatch.setattr(own_files, "put_back", disturbed)
    old = signal.signal(signal.SIGTERM, lambda *_: seen.append(container.names()))
    try:
        container.backend.close()
    finally:
        signal.signal(signal.SIGTERM, old)
    assert seen == [before, before]


@pytest.mark.parametrize(
    ("pid", "error", "names"),
    [
        (1, None, ["ls", "sh"]),
        (1, ConnectionError(), ["ls", "sh"]),
        (1, KeyboardInterrupt(), ["tool"]),
        (2, KeyboardInterrupt(), ["ls", "sh"]),
    ],
)
def test_nothing_comes_back_to_a_container_that_ends(
    pid: int,
    error: BaseException | None,
    names: list[str],
    container: Container,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    container.image("bin/tool")
    monkeypatch.setattr(os, "getpid", lambda: pid)
    container.backend.__exit__(None, error, None)
    assert sorted(os.listdir(container.root / "bin")) == names
    container.backend.__exit__(None, None, None)
    assert sorted(os.listdir(container.root / "bin")) == names


def test_what_is_asked_for_is_done_once_before_the_takeover(container: Container) -> None:
    seen: list[bool] = []
    container.backend.before_takeover(lambda: seen.append((container.root / "bin/sh").exists()))
    container.image("a")
    container.image("b")
    assert seen == [True]


def test_a_stage_that_needs_it_takes_it_from_the_one_that_has_it(container: Container) -> None:
    first = container.image("first")
    second = container.image("second")
    assert first.is_lost
    assert not second.is_lost
    assert second.tree().children("") == ["second"]
    assert not (container.root / "first").exists()


def test_a_child_goes_on_from_what_is_there(container: Container) -> None:
    parent = container.image("file")
    child = parent.child(container.root / "work/child")
    assert parent.is_lost
    assert child.tree().lookup("file") is not None


def test_the_tree_is_the_images_alone(container: Container) -> None:
    root = container.image("usr/bin/tool")
    tree = root.tree()
    assert tree.children("") == ["usr"]
    for name in PROTECTED_NAMES:
        assert tree.lookup(name) is None


def test_changes_leave_out_what_is_protected(container: Container) -> None:
    root = container.image("etc/passwd", "old")

    def change(at: Path) -> None:
        (at / "kept/file").write_text("changed")
        (at / "deep/volume/more").write_text("x")
        (at / "etc/hosts").write_text("x")
        (at / "old").unlink()
        (at / "new").mkdir()
        (at / "new/file").write_text("x")

    assert paths(root.run(change)) == [".wh.old", "new", "new/file"]
    assert root.run(lambda _: None) == []
    assert paths(root.run(running(lambda at: (at / "deep/file").write_text("x")))) == ["deep", "deep/file"]
    assert root.tree().children("") == ["deep", "etc", "new"]
    assert root.tree().children("deep") == ["file"]


def test_a_directory_that_the_image_lacks_is_no_change(container: Container) -> None:
    root = container.image("etc/passwd")

    def touch(at: Path) -> None:
        for name in ("deep", "etc"):
            os.utime(at / name, (1, 1))

    assert paths(root.run(running(touch))) == ["etc"]
    root.run(running(lambda at: (at / "deep/file").touch()))
    assert paths(root.run(running(lambda at: os.utime(at / "deep", (1, 1))))) == ["deep"]


def test_a_known_layer_is_no_change_of_the_next_step(container: Container) -> None:
    root = container.image("a")
    root.run(lambda _: None)
    root.apply(files("b"))
    assert root.tree().lookup("b") is not None
    assert paths(root.run(running(lambda at: (at / "c").write_text("x")))) == ["c"]


def test_a_place_that_will_be_ours_is_no_part_of_an_image_either(container: Container) -> None:
    root = container.image("a")
    assert paths(root.run(running(lambda at: (at / "absent").mkdir()))) == []
    container.image("b")
    assert (container.root / "absent").is_dir()


def test_the_working_directory_stays_the_same_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "root/deep/here"
    here.mkdir(parents=True)
    (here / "script").write_text("mine")
    monkeypatch.chdir(here)
    inode = here.stat().st_ino
    container = Container(tmp_path / "other")
    backend = InplaceBackend(container.root / "work", [], container.told, tmp_path / "root")
    root = backend.extract(tmp_path, files("deep/file"), hash_content=False)
    assert list(here.iterdir()) == []
    assert root.tree().children("deep") == ["file"]
    backend.close()
    assert here.stat().st_ino == inode
    assert Path("script").read_text() == "mine"


def test_the_root_can_be_no_context(container: Container) -> None:
    with pytest.raises(IsolationError, match="as the build context"):
        InplaceBackend(container.root / "work", [container.root], container.told, container.root)


def working(root: InplaceRoot, path: str, script: Callable[[Path], object] = lambda _: None) -> None:
    with root.step(path, ROOT, (), root.directory() / "work/aside"):
        script(root.directory())


def test_a_step_may_stand_in_a_volume(container: Container) -> None:
    root = container.image("a")
    (container.root / "link").symlink_to("deep")
    for path in ("/", "/deep", "/not/there", "/deep/volume", "/link/volume"):
        working(root, path, lambda root: (root / "new").touch())


def test_what_it_changes_in_the_volume_it_stands_in_is_an_error(container: Container) -> None:
    root = container.image("a")
    volume = container.root / "deep/volume"

    def change(_: object) -> None:
        (volume / "file").unlink()
        (volume / "in/side").mkdir(parents=True)
        for name in ("in/side/x", "in/y", "z"):
            (volume / name).touch()

    with pytest.raises(IsolationError, match=r"changed file, in/side/x, in/y and 1 more in .*/deep/volume"):
        working(root, "/deep/volume", change)


def test_a_step_can_not_work_where_a_volume_hides_files_of_the_image(container: Container) -> None:
    root = container.image("a", "deep/volume/x")
    refused = "/deep/volume is this container's own, and the step would not see the files"
    with pytest.raises(IsolationError, match=refused):
        working(root, "/deep/volume")
    root = container.image("b")
    working(root, "/deep/volume")


def test_nor_in_a_directory_that_a_volume_lacks(container: Container) -> None:
    root = container.image("a")
    with pytest.raises(IsolationError, match="/deep/volume is this container's own, and has no such"):
        working(root, "/deep/volume/below")
    with pytest.raises(IsolationError, match="/etc/hosts is this container's own, not the image's"):
        working(root, "/etc/hosts")
    assert not (container.root / "deep/volume/below").exists()


def test_a_hidden_file_of_the_image_is_warned_of_once_for_each_place(container: Container) -> None:
    for _ in range(2):
        container.image("deep/volume/x", "deep/volume/y", "etc/hosts", "kept/z")
    volume, kept = container.told.warnings
    assert volume.startswith("the image has /deep/volume/x, but /deep/volume is this container's own")
    assert kept.startswith("the image has /kept/z, but /kept is this container's own")


def test_what_a_step_mounts_is_no_change(container: Container) -> None:
    root = container.image("etc/passwd", "tmp/mine")
    source = container.root / "work/source"
    source.mkdir()
    (container.root / "work/secret").write_text("hush")
    directory = RootMount(PurePosixPath("/tmp"), source)
    file = RootMount(PurePosixPath("/etc/passwd"), container.root / "work/secret")

    def process(at: Path) -> None:
        with root.step("/", ROOT, (directory, file), at / "work/aside"):
            (at / "tmp/new").touch()
            (at / "made").touch()

    assert paths(root.run(process)) == ["made"]
    assert (source / "new").exists()
    assert os.listdir(container.root / "tmp") == ["mine"]
    assert paths(root.run(running(lambda at: (at / "tmp/mine").unlink()))) == ["tmp", "tmp/.wh.mine"]


def test_a_step_without_a_network_is_refused(container: Container) -> None:
    root = container.image("a")
    user = UserSpec(uid=0, gid=0, supplementary_gids=(), home="/root")
    command = StepCommand(("/a",), {}, "/", user, network="none")
    with pytest.raises(IsolationError, match="--network=none can't be run in place"):
        container.backend.run(root.directory(), command)


def test_only_what_no_step_can_replace_is_trusted(container: Container) -> None:
    assert container.backend.trusts(None)
    assert container.backend.trusts(Path("/knarr/bin/git"))
    assert not container.backend.trusts(Path("/opt/tools/git"))


def test_a_claim_takes_it_from_the_stage_that_has_it(container: Container) -> None:
    root = container.image("a")
    container.backend.claim()
    assert root.is_lost
    assert (container.root / "a").exists()
