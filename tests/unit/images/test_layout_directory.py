"""Many layouts in one directory, replaced while others read them."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from knarr.errors import CorruptError
from knarr.images import layout_directory
from knarr.images.layout import OciLayout
from knarr.images.layout_directory import LayoutDirectory
from knarr.oci.manifest import Descriptor
from unit.images.test_layout import AMD64, check_whole, finished

IMAGES = [finished(b"%d" % number * 100) for number in range(4)]


def keep(root: Path, name: str, number: int) -> None:
    with LayoutDirectory(root).replacing(name) as layout:
        layout.put(IMAGES[number], [IMAGES[number].descriptor])


def read(root: Path, name: str) -> bytes | None:
    """The layer's content, checked."""
    return LayoutDirectory(root).read(name, _layer)


def _layer(layout: OciLayout) -> bytes:
    manifest = layout.manifest(layout.entries()[0].digest, AMD64)
    layout.config(manifest)
    return layout.read(manifest.layers[0].digest)


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "kept", "a") is None
    keep(tmp_path / "kept", "a", 0)
    check_whole(tmp_path / "kept/a", IMAGES[0])
    assert (tmp_path / "kept/a").stat().st_mode & 0o777 == 0o755
    keep(tmp_path / "kept", "a", 1)
    assert read(tmp_path / "kept", "a") == b"1" * 100
    assert os.listdir(tmp_path / "kept") == ["a"]


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    keep(tmp_path, "a", 0)
    with pytest.raises(KeyboardInterrupt), LayoutDirectory(tmp_path).replacing("a"):
        raise KeyboardInterrupt
    assert read(tmp_path, "a") == b"0" * 100
    assert os.listdir(tmp_path) == ["a"]


def test_other_things_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(CorruptError, match="not a directory"):
        read(tmp_path, "file")
    for name in ("file", "link"):
        keep(tmp_path, name, 2)
        assert read(tmp_path, name) == b"2" * 100
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_damage_is_told(tmp_path: Path) -> None:
    keep(tmp_path, "a", 0)
    (tmp_path / "a/index.json").unlink()
    with pytest.raises(FileNotFoundError):
        read(tmp_path, "a")


def test_what_is_replaced_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    keep(tmp_path, "a", 0)
    seen: list[tuple[Descriptor, ...]] = []

    def use(layout: OciLayout) -> bytes:
        entries = layout.entries()
        if not seen:
            keep(tmp_path, "a", 1)
        seen.append(entries)
        return layout.read(entries[0].digest)

    assert LayoutDirectory(tmp_path).read("a", use) == IMAGES[1].manifest_bytes
    assert len(seen) == 2


@pytest.mark.parametrize("exchanges", [True, False])
def test_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, exchanges: bool) -> None:
    if not exchanges:

        def refuse(first: str, second: str) -> None:
            raise OSError(22, "Invalid argument", first)

        monkeypatch.setattr(layout_directory, "exchange", refuse)
    forked = multiprocessing.get_context("fork")
    failures: multiprocessing.Queue[str] = forked.Queue()
    writers = [
        forked.Process(target=_keep_often, args=(tmp_path, number, failures, exchanges))
        for number in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures.empty(), failures.get()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    for name in ("a", "b"):
        assert read(tmp_path, name) in [b"%d" % number * 100 for number in range(4)]


def _keep_often(root: Path, number: int, failures: "multiprocessing.Queue[str]", exchanges: bool) -> None:  # noqa: FBT001
    try:
        for _ in range(50):
            for name in ("a", "b"):
                keep(root, name, number)
                found = read(root, name)
                # Without an exchange there may be a moment between the old and the new one.
                assert found is not None or not exchanges
    except BaseException as error:
        failures.put(f"{number}: {error!r}")


def _left_behind(root: Path) -> Path:
    """What a killed writer leaves."""
    child = os.fork()
    if child == 0:
        with LayoutDirectory(root).replacing("a") as layout:
            layout.blobs.add(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = root.glob(".new-*")
    return left


def test_what_killed_writers_left_is_removed_after_a_while(tmp_path: Path) -> None:
    left = _left_behind(tmp_path)
    keep(tmp_path, "a", 0)
    assert left.exists()  # it may be one that is being made
    os.utime(left, (0, 0))
    keep(tmp_path, "a", 0)
    assert os.listdir(tmp_path) == ["a"]


def test_a_writer_that_takes_long_is_left_alone(tmp_path: Path) -> None:
    with LayoutDirectory(tmp_path).replacing("a") as layout:
        os.utime(layout.root, (0, 0))
        keep(tmp_path, "b", 0)
        layout.put(IMAGES[1], [IMAGES[1].descriptor])
    assert read(tmp_path, "a") == b"1" * 100
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
