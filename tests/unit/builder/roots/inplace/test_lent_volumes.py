"""Empty volumes as an image's place: a tmpfs in a directory that stands in for `/`."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from knarr.builder.roots.inplace.backend import InplaceBackend
from knarr.builder.roots.inplace.root import InplaceRoot
from knarr.errors import IsolationError
from knarr.exec.spec import RootMount
from knarr.layers.entry import LayerItem
from knarr.progress import Event, Note
from knarr.rootfs.mount_points import MountPoint
from support.fillers import files

pytestmark = pytest.mark.root

FOREIGN_GROUP = 4242


class Pod:
    """A root with a shell, in which volumes are mounted as Kubernetes mounts them."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        self.mounted: list[Path] = []
        for name in ("bin", "etc", "work", "proc"):
            (self.root / name).mkdir(parents=True)
        (self.root / "bin/sh").write_text("shell")
        self.told: list[str] = []
        self.workspace = self.mount("workspace")
        os.chown(self.workspace, -1, FOREIGN_GROUP)
        self.workspace.chmod(0o2777)
        os.utime(self.workspace, ns=(10**18, 10**18))
        self.kept: list[Path] = []
        self.outputs: list[Path] = []
        self.backend: InplaceBackend | None = None

    def mount(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
        self.mounted.append(path)
        return path

    def report(self, event: Event) -> None:
        if isinstance(event, Note):
            self.told.append(event.text)

    def image(self, *names: str) -> InplaceRoot:
        if self.backend is None:
            self.backend = InplaceBackend(
                self.root / "work", self.kept, self, self.root, outputs=self.outputs
            )
        return self.backend.extract(self.root / "work", files(*names), hash_content=False)

    def step(
        self, image: InplaceRoot, script: str, working_dir: str = "/", *mounts: RootMount
    ) -> list[LayerItem]:
        """Run a script of the machine's shell in place of a command, around it what a step has."""

        def process(root: Path) -> None:
            with image.step(working_dir, mounts, self.root / "work/aside"):
                subprocess.run(["sh", "-ec", script], check=True, cwd=root / working_dir.strip("/"))

        points = [MountPoint(str(each.target).strip("/"), stat.S_IFDIR | 0o755) for each in mounts]
        return image.run(process, points)

    def look(self) -> tuple[list[str], tuple[int, int, int, int]]:
        """What is in the workspace, its mode, owner and time."""
        found = self.workspace.stat()
        names = [str(path.relative_to(self.workspace)) for path in self.workspace.rglob("*")]
        return sorted(names), (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    yield pod
    if pod.backend is not None:
        pod.backend.close()
    for path in reversed(pod.mounted):
        subprocess.run(["umount", path], check=True)


def paths(items: list[LayerItem]) -> list[str]:
    return [item.entry.path for item in items]


EMPTY: tuple[list[str], tuple[int, int, int, int]] = ([], (0o2777, 0, FOREIGN_GROUP, 10**18))


def test_files_of_the_image_lie_there_and_go_again(pod: Pod) -> None:
    image = pod.image("workspace/go.mod", "workspace/deep/file")
    found = pod.workspace.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o755, 0)
    assert image.tree().children("workspace") == ["deep", "go.mod"]
    changed = pod.step(image, "echo x > made; rm go.mod; mkdir -m 700 more", "/workspace")
    assert paths(changed) == ["workspace", "workspace/.wh.go.mod", "workspace/made", "workspace/more"]
    assert paths(pod.step(image, "touch /dev/null", "/workspace")) == []
    assert pod.backend is not None
    pod.backend.close()
    assert pod.look() == EMPTY
    assert any("the empty volume at /workspace is the image's" in text for text in pod.told)


def test_a_working_directory_that_the_image_lacks_is_made_there(pod: Pod) -> None:
    changed = pod.step(pod.image("bin/true"), "echo x > made", "/workspace/app")
    assert paths(changed) == ["workspace", "workspace/app", "workspace/app/made"]
    assert {item.entry.gid for item in changed} == {0}


def test_a_step_may_mount_in_it(pod: Pod) -> None:
    mount = RootMount(PurePosixPath("/workspace/.cache"))
    changed = pod.step(pod.image("bin/true"), "echo x > .cache/x; echo y > made", "/workspace", mount)
    assert paths(changed) == ["workspace", "workspace/made"]


def test_an_image_without_files_there_leaves_it_alone(pod: Pod) -> None:
    image = pod.image("bin/true")
    assert paths(pod.step(image, f"echo x > {pod.workspace}/made")) == []
    assert (pod.workspace / "made").read_text() == "x\n"


def test_each_stage_finds_it_empty(pod: Pod) -> None:
    pod.image("workspace/one")
    image = pod.image("workspace/two")
    assert image.tree().children("workspace") == ["two"]


def test_what_is_mounted_in_it_stays_and_what_the_platform_keeps(pod: Pod) -> None:
    source = pod.mount("workspace/deep/source")
    (source / "mine").write_text("mine")
    (pod.workspace / "lost+found").mkdir()
    (pod.workspace / "..data").symlink_to("..2026")
    (pod.workspace / "deep").chmod(0o711)
    pod.kept.append(source)
    os.utime(pod.workspace, ns=(10**18, 10**18))
    before = pod.look()
    image = pod.image("workspace/file", "workspace/deep/file", "workspace/deep/source/hidden")
    assert image.tree().children("workspace") == ["deep", "file"]
    assert paths(pod.step(image, "rm -f file deep/file", "/workspace")) == [
        "workspace",
        "workspace/.wh.file",
        "workspace/deep",
        "workspace/deep/.wh.file",
    ]
    assert (source / "mine").read_text() == "mine"
    assert pod.backend is not None
    pod.backend.close()
    assert pod.look() == before
    assert sorted(each.name for each in source.iterdir()) == ["mine"]


@pytest.mark.parametrize("why", ["files", "context", "output", "read-only"])
def test_a_volume_in_use_is_refused_as_it_is(pod: Pod, why: str) -> None:
    if why == "files":
        (pod.workspace / ".hidden").touch()
    if why == "context":
        pod.kept.append(pod.workspace)
    if why == "output":
        pod.outputs.append(pod.workspace / "new/digest")
    if why == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", pod.workspace], check=True)
    before = pod.look()
    image = pod.image("workspace/file")
    with pytest.raises(IsolationError, match="the step would not see the files") as raised:
        pod.step(image, "true", "/workspace")
    if why == "files":
        assert "it holds .hidden" in str(raised.value)
    assert pod.look() == before


def test_what_a_killed_build_left_is_said(pod: Pod) -> None:
    os.setxattr(pod.workspace, "user.knarr.lent", b"1")
    (pod.workspace / "made").touch()
    with pytest.raises(IsolationError, match="a build that was killed has left files in it"):
        pod.step(pod.image("bin/true"), "true", "/workspace")
    assert pod.look()[0] == ["made"]


def test_it_is_empty_again_when_a_signal_ends_the_build(pod: Pod) -> None:
    image = pod.image("workspace/file")
    assert pod.backend is not None

    def end(root: Path) -> None:
        (root / "workspace/made").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pod.backend:
        image.run(end)
    assert pod.look() == EMPTY
