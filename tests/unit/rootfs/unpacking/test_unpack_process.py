import io
import os
import stat
import threading
from pathlib import Path

import pytest

from knarr.errors import CorruptError
from knarr.layers.tar.read import TarReader
from knarr.rootfs.unpacking.unpack import apply_layer
from unit.layers.tar.raw_tar import archive, directory, fifo, file, hardlink, header
from unit.rootfs.unpacking.test_unpack import apply


def test_the_umask_is_left_to_other_threads(tmp_path: Path) -> None:
    data = archive(*(file(b"f%d" % number, b"x" * 600, mode=0o666) for number in range(50)), fifo(b"p"))
    (tmp_path / "root").mkdir()
    modes: list[int] = []

    class Watched(io.BytesIO):
        """Lets another thread make a directory whenever the layer is read on, a block at a time."""

        def read(self, size: int | None = -1, /) -> bytes:
            place = tmp_path / f"other{len(modes)}"
            thread = threading.Thread(target=place.mkdir)
            thread.start()
            thread.join()
            modes.append(stat.S_IMODE(place.stat().st_mode))
            return super().read(min(size or 512, 512))

    before = os.umask(0o027)
    fd = os.open(tmp_path / "root", os.O_PATH)
    try:
        apply_layer(fd, TarReader(Watched(data)))
    finally:
        os.close(fd)
        os.umask(before)
    assert len(modes) > 50
    assert set(modes) == {0o750}
    assert {stat.S_IMODE(os.stat(tmp_path / "root" / f"f{number}").st_mode) for number in range(50)} == {
        0o666
    }


def test_neither_umask_nor_root_directory_changes(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o711)
    before = os.umask(0o077)
    try:
        apply(
            tmp_path,
            directory(b"./", 0o777),
            directory(b"d", 0o777),
            header(b"f", mode=0o666),
            file(b"a/b"),
            header(b"p", flag=b"6", mode=0o622),
        )
        assert os.umask(0o077) == 0o077
        with pytest.raises(CorruptError):
            apply(tmp_path, hardlink(b"a", b"missing"))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("", "d", "f", "a", "p")] == [
        0o711,
        0o777,
        0o666,
        0o755,
        0o622,
    ]
