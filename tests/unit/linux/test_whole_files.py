"""Files that appear whole or not at all."""

import errno
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from knarr.errors import OutputError
from knarr.linux.whole_files import append_to_file, check_place, descriptor_of, write_file, writing


def test_new_file_has_its_directories(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b" / "c", b"text")
    assert (tmp_path / "a/b/c").read_bytes() == b"text"
    assert stat.S_IMODE((tmp_path / "a/b/c").stat().st_mode) == 0o644


def test_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("a longer text")
    path.chmod(0o600)
    write_file(path, b"text")
    assert path.read_bytes() == b"text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_symlink_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", b"text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"text"


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("before")

    def fail() -> None:
        with writing(tmp_path / "f") as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(OSError, match="no room"):
        fail()
    assert (tmp_path / "f").read_text() == "before"
    assert os.listdir(tmp_path) == ["f"]


def test_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_file(tmp_path / "pipe", b"text")
    reader.join()
    assert read == [b"text"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_device_is_written_to(tmp_path: Path) -> None:
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (tmp_path / "link").symlink_to("null")
    write_file(tmp_path / "null", b"text")
    write_file(tmp_path / "link", b"text")
    append_to_file(tmp_path / "null", b"text")
    assert stat.S_ISCHR((tmp_path / "null").lstat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "null"]


def test_pipe_of_another_process_is_written_to() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        write_file(Path(f"/proc/{reader.pid}/fd/0"), b"text")
        assert reader.communicate()[0] == b"text"


def test_descriptor_of_this_process(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.write(b"before ")
        file.flush()
        write_file(Path(f"/dev/fd/{file.fileno()}"), b"text")
        write_file(Path(f"/proc/self/fd/{file.fileno()}"), b" more")
        append_to_file(Path(f"/dev/fd/{file.fileno()}"), b" of it")
    assert (tmp_path / "f").read_bytes() == b"before text more of it"
    assert descriptor_of(Path("/dev/stdout")) == 1
    assert descriptor_of(Path("/dev/termination-log")) is None


def test_file_that_is_mounted_by_itself(tmp_path: Path) -> None:
    """As /dev/termination-log is in a pod: it can be written to, not replaced."""
    (tmp_path / "outside").write_text("a longer text")
    (tmp_path / "log").touch()
    subprocess.run(["mount", "--bind", tmp_path / "outside", tmp_path / "log"], check=True)
    try:
        write_file(tmp_path / "log", b"text")
    finally:
        subprocess.run(["umount", tmp_path / "log"], check=True)
    assert (tmp_path / "outside").read_bytes() == b"text"
    assert sorted(os.listdir(tmp_path)) == ["log", "outside"]


def test_append(tmp_path: Path) -> None:
    append_to_file(tmp_path / "f", b"one\n")
    append_to_file(tmp_path / "f", b"two\n")
    assert (tmp_path / "f").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("path", ["directory", "file/f"])
def test_places_that_are_none(tmp_path: Path, path: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--x"):
        check_place("--x", tmp_path / path)


def test_places(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    check_place("--x", tmp_path / "directory", directory=True)
    check_place("--x", tmp_path / "new" / "f")
    check_place("--x", Path("/dev/stdout"))
