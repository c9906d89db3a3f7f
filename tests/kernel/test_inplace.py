"""Steps in the root that the executor is in: nothing mounted, the identity set, all killed after."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support.exec_request import Executor, Outcome, lines_of

pytestmark = pytest.mark.root


def run(executor: Executor, *argv: str, **changes: Any) -> Outcome:
    path = {"PATH": "/usr/bin:/bin"}
    return executor.run(*argv, **{"root": "/", "in_place": True, "shared_pids": True, "env": path, **changes})


def processes(mark: str) -> list[Path]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"sleep\0{mark}\0".encode() in entry.read_bytes():
                found.append(entry.parent)
        except OSError:
            continue
    return found


def test_the_root_is_the_executors_own(root_executor: Executor, open_place: Path) -> None:
    before = os.stat("/").st_ino, os.readlink("/proc/self/ns/pid")
    script = f"stat -c %i /; readlink /proc/self/ns/pid; umask; pwd; echo here > {open_place}/made; env"
    outcome = run(root_executor, "sh", "-c", script, cwd="/usr", env={"PATH": "/usr/bin:/bin", "A": "b"})
    assert outcome.code == 0, outcome
    inode, pids, umask, directory, *env = outcome.output.splitlines()
    assert (int(inode), pids, umask, directory) == (*before, "0022", "/usr")
    assert {"A=b", "PATH=/usr/bin:/bin"} <= set(env)
    assert (open_place / "made").read_text() == "here\n"


@pytest.mark.parametrize(("uid", "effective"), [(0, "00000000a80425fb"), (4242, "0" * 16)])
def test_identity_and_capabilities(root_executor: Executor, uid: int, effective: str) -> None:
    outcome = run(root_executor, "cat", "/proc/self/status", uid=uid, gid=77, groups=(77, 88))
    wanted = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")
    assert lines_of(outcome.output, wanted) == {
        "Uid": "\t".join([str(uid)] * 4),
        "Gid": "\t".join(["77"] * 4),
        "Groups": "77 88",
        "CapEff": effective,
        "CapPrm": effective,
        "CapBnd": "00000000a80425fb",
        "CapInh": "0" * 16,
        "CapAmb": "0" * 16,
    }


def test_no_descriptor_of_the_executor_comes_along(root_executor: Executor) -> None:
    outcome = run(root_executor, "ls", "/proc/self/fd")
    assert outcome.output.split() == ["0", "1", "2", "3"]


def test_a_step_cannot_look_into_its_starter_or_the_executor(root_executor: Executor) -> None:
    script = (
        "pid=$$; for level in 1 2 3; do pid=$(awk '/^PPid/ {print $2}' /proc/$pid/status); "
        "for name in environ maps mem; do "
        "head -c1 /proc/$pid/$name >/dev/null 2>&1 && echo $level $name; done; "
        "readlink /proc/$pid/exe /proc/$pid/root /proc/$pid/cwd; done"
    )
    assert run(root_executor, "sh", "-c", script).output == ""


def test_what_is_left_behind_is_killed(root_executor: Executor) -> None:
    mark = "27.1828"
    script = (
        f"(setsid sleep {mark} &); (setsid sh -c 'sleep {mark}; true' &); trap '' TERM; sleep {mark} & exit 5"
    )
    outcome = run(root_executor, "sh", "-c", script)
    assert outcome.code == 5
    assert processes(mark) == []


def test_a_step_ends_with_the_executor(root_executor: Executor) -> None:
    mark = "31.4159"
    request = root_executor.request(
        *("sh", "-c", f"setsid sleep {mark} & exec sleep {mark}"),
        **{"root": "/", "in_place": True, "shared_pids": True, "env": {"PATH": "/usr/bin:/bin"}},
    )
    process = root_executor.start(request, {})
    deadline = time.monotonic() + 30
    while len(processes(mark)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(processes(mark)) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    while processes(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes(mark) == []


def test_a_command_that_is_not_there(root_executor: Executor) -> None:
    error = run(root_executor, "no-such-program").error
    assert error is not None
    assert (error["type"], error["status"]) == ("RunError", 127)
    error = run(root_executor, "true", cwd="/no/such/place").error
    assert error is not None
    assert error["message"].startswith("cannot enter the working directory /no/such/place")
