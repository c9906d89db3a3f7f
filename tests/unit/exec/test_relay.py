"""Output that is passed on as it is, its end remembered."""

import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from knarr.exec.relay import Relay


def carry(script: str, target: int) -> Relay:
    """Run a script with its output relayed to a descriptor."""
    status_read, status_write = os.pipe()
    relay = Relay(target)
    process = subprocess.Popen(["sh", "-c", script], stdout=relay.write_end, stderr=relay.write_end)
    os.close(status_write)
    relay.started()
    try:
        relay.carry(status_read, _ended(process))
    finally:
        os.close(status_read)
        process.wait()
    return relay


def _ended(process: "subprocess.Popen[bytes]") -> Callable[[], bool]:
    return lambda: process.poll() is not None


def test_bytes_are_as_they_were(tmp_path: Path) -> None:
    script = "printf 'a\\000\\377b'; printf err >&2; head -c 300000 /dev/zero; printf '\\nlast'"
    with (tmp_path / "log").open("wb") as log, closing(carry(script, log.fileno())) as relay:
        assert relay.last_lines(1) == "last"
    assert (tmp_path / "log").read_bytes() == b"a\0\xffberr" + bytes(300000) + b"\nlast"


def test_the_last_lines(tmp_path: Path) -> None:
    script = "seq 5; printf '10%%\\r50%%\\r100%%\\n'; printf 'end\\r\\n\\n'"
    with (tmp_path / "log").open("wb") as log, closing(carry(script, log.fileno())) as relay:
        assert relay.last_lines(3) == "5\n100%\nend"
        assert relay.last_lines(100).splitlines()[0] == "1"


def test_a_reader_that_has_gone_is_told_of(tmp_path: Path) -> None:
    """The process finds its pipe closed, as it would have without the relay."""
    read, write = os.pipe()
    os.close(read)
    with closing(
        carry(f"trap '' PIPE; for i in 1 2 3; do sleep 0.1; echo x || echo gone > {tmp_path}/x; done", write)
    ):
        assert (tmp_path / "x").read_text() == "gone\n"
    os.close(write)


def test_what_holds_the_pipe_after_the_end_is_not_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, closing(carry("sleep 5 & echo done", log.fileno())) as relay:
        assert relay.last_lines(1) == "done"
