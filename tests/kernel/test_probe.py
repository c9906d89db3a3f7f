"""What is said of machines that offer less, made by restricting a process first."""

import os
import subprocess
from pathlib import Path

import pytest

from support.exec_request import Executor, Identity, make_executor

pytestmark = pytest.mark.root

NO_ADMIN = "setpriv --bounding-set -sys_admin"


def restricted(place: Path, script: str, *unshare: str) -> Executor:
    """An executor that starts after `script` has changed its namespaces, without CAP_SYS_ADMIN."""
    prefix = ("unshare", *unshare, "/bin/sh", "-ec", f'{script}; exec {NO_ADMIN} "$@"', "sh")
    return make_executor(Identity("restricted", 0, 0, prefix), place / "restricted")


def test_no_user_namespaces(open_place: Path) -> None:
    limit = "echo 0 > /proc/sys/user/max_user_namespaces"
    error = restricted(open_place, limit, "--user", "--map-root-user").run("true").error
    assert error is not None
    assert (error["type"], error["status"]) == ("IsolationError", 8)
    assert error["message"].startswith("cannot create a user namespace: ")
    assert "sysctl user.max_user_namespaces is 0" in error["hint"]


@pytest.fixture
def masked_executor(open_place: Path) -> Executor:
    """An executor in a container whose /proc is partly masked, as a container engine leaves it."""
    return restricted(open_place, "mount -t tmpfs none /proc/tty", "--mount")


def test_a_masked_proc_is_shared(masked_executor: Executor) -> None:
    outcome = masked_executor.shell("echo ran; [ -d /proc/$$ ]; echo $?; touch /proc/sys/x 2>&1")
    assert "no pid namespace (a fresh /proc: Operation not permitted)" in outcome.isolation
    assert outcome.error is None
    assert outcome.output.startswith("ran\n0\n")


def test_what_is_left_behind_is_killed_with_a_shared_proc(masked_executor: Executor) -> None:
    mark = "16.1803"
    masked_executor.shell(f"(setsid sleep {mark} &); (setsid sh -c 'sleep {mark}; true' &); exit 0")
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes())
        except OSError:
            continue
    assert b"sleep\0" + mark.encode() + b"\0" not in lines


PROBES = """
import sys
from pathlib import Path
from knarr.exec import namespaces, probe
print(probe.probe("none").mode, probe.probe("auto").mode)
entered = namespaces.enter()
support = probe.probe_overlay(Path(sys.argv[1]), in_user_namespace=entered.in_user_namespace)
print(support.usable, support.userxattr, support.reason)
"""


def run_probes(executor: Executor, directory: Path) -> list[str]:
    command = [*executor.command()[:-1], "-c", PROBES, str(directory)]
    credentials = executor.credentials()
    result = subprocess.run(command, capture_output=True, text=True, check=False, **credentials)
    assert result.returncode == 0, result.stderr
    lines: list[str] = result.stdout.splitlines()
    return lines


def test_overlay_is_usable(executor: Executor) -> None:
    userxattr = executor.identity.name != "root"
    assert run_probes(executor, executor.place) == ["none namespace", f"True {userxattr} overlayfs"]
    assert not [name for name in os.listdir(executor.place) if name.startswith("overlay-probe")]


def test_overlay_is_refused_where_its_upper_is_an_overlay(open_place: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (open_place / name).mkdir()
    options = ",".join(
        f"{key}={open_place / name}"
        for key, name in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))
    )
    script = f"mount -t overlay -o {options} overlay {open_place / 'merged'}"
    executor = restricted(open_place, script, "--mount")
    _, answer = run_probes(executor, open_place / "merged")
    assert answer.startswith("False True no overlayfs: ")
