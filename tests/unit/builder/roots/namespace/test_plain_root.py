"""A plain directory for a stage: what a step changed is found by a scan."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.builder.roots.namespace.plain_root import PlainRoot
from knarr.rootfs.mount_points import MountPoint
from knarr.rootfs.unpacking.unpack import OwnerPolicy
from support.fillers import files, filler
from support.image_layout import Member


@pytest.fixture
def root(tmp_path: Path) -> Iterator[PlainRoot]:
    image = filler([Member("etc/passwd", content=b"root")], [Member("bin/sh", content=b"shell", mode=0o755)])
    root = PlainRoot.extract(tmp_path / "place", image, owner_policy=OwnerPolicy.RECORD)
    yield root
    root.close()


def test_all_layers_are_there(root: PlainRoot) -> None:
    assert (root.directory() / "etc/passwd").read_text() == "root"
    assert root.tree().children("bin") == ["sh"]
    assert not root.is_lost


def test_a_step_gives_what_it_changed(root: PlainRoot) -> None:
    def step(at: Path) -> None:
        assert (at / "proc").is_dir()
        (at / "etc/passwd").unlink()
        (at / "made").write_text("x")

    items = root.run(step)
    assert [item.entry.path for item in items] == ["etc", "etc/.wh.passwd", "made"]
    assert root.tree().lookup("made") is not None
    assert root.tree().lookup("proc") is None
    assert root.run(lambda _: None) == []


def test_mount_points_never_show(root: PlainRoot) -> None:
    points = [MountPoint("etc/new", 0o40755), MountPoint("etc/new/file", 0o100644)]
    seen: list[bool] = []
    assert root.run(lambda at: seen.append((at / "etc/new/file").is_file()), points) == []
    assert seen == [True]
    assert os.listdir(root.directory() / "etc") == ["passwd"]


def test_a_known_layer_is_no_change(root: PlainRoot) -> None:
    assert root.tree().lookup("more") is None
    root.apply(files("more"))
    assert root.tree().lookup("more") is not None
    assert root.run(lambda _: None) == []


def test_closing_twice_harms_nothing(root: PlainRoot) -> None:
    root.close()
    other = os.open("/", os.O_RDONLY)
    root.close()
    os.close(other)
