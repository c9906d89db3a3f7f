"""The bench itself: flattened images are what their layers say, and no difference goes unseen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.bases import base, cache_directory
from support.compare import Names, compare
from support.flatten import FlatImage, flatten_layout
from support.image_layout import Member, PlatformImage, tar_bytes, write_layout


def _image(tmp: Path, *layers: Sequence[Member], config: Mapping[str, Any] | None = None) -> FlatImage:
    tmp.mkdir()
    tars = []
    for number, members in enumerate(layers):
        tars.append(tmp / f"{number}.tar")
        tars[-1].write_bytes(tar_bytes(members))
    write_layout(tmp / "layout", [PlatformImage(tars, config or {})])
    return flatten_layout(tmp / "layout")


def test_whiteouts_and_links_of_the_layered_base() -> None:
    files = flatten_layout(base("layered", cache_directory()).layout).files
    data = {path.removeprefix("/data/"): facts for path, facts in files.items() if path.startswith("/data/")}
    assert sorted(data) == sorted(
        [
            "keep",
            "dir",
            "dir/b",
            "opaque",
            "opaque/new",
            "becomes-file",
            "becomes-dir",
            "becomes-dir/inside",
            "link1",
            "link2",
            "link3",
            "fifo",
            "marked",
            "setuid",
            "pair1",
            "pair2",
        ]
    )
    assert data["link1"].hard_links == ("/data/link1", "/data/link3")
    assert data["link2"].hard_links == ()
    assert data["pair1"].hard_links == ("/data/pair1", "/data/pair2")
    assert data["dir"].mode == 0o700
    assert data["becomes-file"].kind == "file"
    assert data["marked"].xattrs == {"user.knarr": b"\x00value\n".hex()}
    assert (data["setuid"].mode, data["keep"].uid, data["fifo"].kind) == (0o6755, 1000, "fifo")


def test_whiteouts_spare_their_own_layer(tmp_path: Path) -> None:
    image = _image(
        tmp_path / "image",
        [Member("d", "dir"), Member("d/old")],
        [Member("d/new"), Member("d/.wh..wh..opq"), Member("d/.wh.new")],
    )
    assert sorted(image.files) == ["/d", "/d/new"]
    assert image.layer_files == (("/d/old",), ("/d/new",))


def test_json_gives_the_same_image(tmp_path: Path) -> None:
    image = _image(tmp_path / "image", [Member("a"), Member("b", "hardlink", target="a")])
    assert FlatImage.from_json(image.to_json()) == image


_CHANGES: Mapping[str, Member] = {
    "mode": Member("file", content=b"1", mode=0o600),
    "uid": Member("file", content=b"1", uid=1),
    "gid": Member("file", content=b"1", gid=1),
    "mtime_s": Member("file", content=b"1", mtime_s=1),
    "size_bytes": Member("file", content=b"12"),
    "text": Member("file", content=b"2"),
    "sha256": Member("file", content=b"\xff"),
    "kind": Member("file", "fifo"),
    "target": Member("file", "symlink", target="x"),
    "device": Member("file", "char", device=(1, 3)),
    "xattrs": Member("file", content=b"1", xattrs={"user.a": b"b"}),
}


@pytest.mark.parametrize("fact", _CHANGES)
def test_every_fact_is_compared(fact: str, tmp_path: Path) -> None:
    left = _image(tmp_path / "left", [Member("file", content=b"1")])
    right = _image(tmp_path / "right", [_CHANGES[fact]])
    assert any(
        line.startswith(f"/file: {fact}: docker ")
        for line in compare(left, right, names=Names("docker", "knarr"))
    )


def test_presence_links_configuration_history_layers_are_compared(tmp_path: Path) -> None:
    left = _image(tmp_path / "left", [Member("a"), Member("b", "hardlink", target="a")], config={"User": "x"})
    right = _image(
        tmp_path / "right", [Member("a"), Member("b")], [Member("c")], config={"User": "y", "Env": []}
    )
    assert compare(left, right) == [
        "/a: hard_links: left ('/a', '/b'), right ()",
        "/b: hard_links: left ('/a', '/b'), right ()",
        "/c: file only in right",
        "config User: left 'x', right 'y'",
        "history 1 created_by: left None, right 'layer 1'",
        "layer 1: /c only in right",
    ]
    assert compare(left, right, ignore=["/*", "config *", "history *", "layer *"]) == []


def test_times_of_the_build_itself_are_equal(tmp_path: Path) -> None:
    made = [
        _image(tmp_path / str(time), [Member("a", mtime_s=time)]) for time in (1_800_000_000, 1_900_000_000)
    ]
    assert compare(made[0], made[1]) == []
    old = _image(tmp_path / "old", [Member("a", mtime_s=1_500_000_000)])
    assert compare(made[0], old) == ["/a: mtime_s: left 1800000000, right 1500000000"]
    assert compare(replace(old), old) == []
