"""The process of a RUN step: its status, environment, identity, capabilities, what it leaves behind."""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.exec_request import Executor, Outcome, lines_of

pytestmark = pytest.mark.root

ID_FIELDS = ("Uid", "Gid", "Groups")
CAPABILITY_FIELDS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
DOCKER_SET = "00000000a80425fb"
NONE = "0000000000000000"


@pytest.fixture
def signals_ignored() -> Iterator[None]:
    """A caller that ignores the last signal, and one that the C library refuses to touch."""
    libc = ctypes.CDLL(None)
    new, old = (ctypes.c_uint64 * 8)(signal.SIG_IGN), (ctypes.c_uint64 * 8)()
    call = {"x86_64": 13, "aarch64": 134}[os.uname().machine]  # rt_sigaction

    def act(action: object, before: object) -> None:
        assert libc.syscall(*map(ctypes.c_long, (call, 32)), action, before, ctypes.c_long(8)) == 0

    act(new, old)
    handler = signal.signal(signal.SIGRTMAX, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGRTMAX, handler)
    act(old, None)


def fine(outcome: Outcome) -> str:
    assert outcome.error is None
    assert outcome.code == 0, outcome.output
    return outcome.output


def test_statuses_and_signals(root_executor: Executor) -> None:
    for script, expected in (("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)):
        assert root_executor.shell(script).code == expected
    assert root_executor.shell("kill -TERM $$").code == 128 + signal.SIGTERM


def test_environment_is_exactly_as_given(executor: Executor) -> None:
    env = {"PATH": "/bin", "A": "", "B": "x=y z", "NAME": "schön"}
    output = fine(executor.run("env", env=env))
    assert sorted(output.splitlines()) == sorted(f"{key}={value}" for key, value in env.items())


def test_umask_session_stdin_and_descriptors(executor: Executor) -> None:
    output = fine(
        executor.shell(
            "umask; cat; readlink /proc/self/fd/0; set -- $(cat /proc/$$/stat); echo $1 $6; "
            "ls /proc/$$/fd; true"
        )
    ).splitlines()
    assert output[0] == "0022"
    assert output[1] == "/dev/null"
    pid, session = output[2].split()
    assert pid == session
    assert set(output[3:]) <= {"0", "1", "2", "10"}  # 10 is the shell's own copy


def test_signal_actions_are_the_defaults(root_executor: Executor, signals_ignored: None) -> None:
    fields = lines_of(fine(root_executor.run("cat", "/proc/self/status")), ("SigIgn", "SigBlk", "SigCgt"))
    assert set(fields.values()) == {NONE}


def test_root_has_dockers_capabilities(executor: Executor) -> None:
    fields = lines_of(fine(executor.run("cat", "/proc/self/status")), CAPABILITY_FIELDS)
    expected = {"CapPrm": DOCKER_SET, "CapEff": DOCKER_SET, "CapBnd": DOCKER_SET}
    assert fields == {"CapInh": NONE, "CapAmb": NONE, **expected}


def test_a_user_has_none_but_may_gain_them_by_setuid(executor: Executor) -> None:
    status = fine(executor.run("cat", "/proc/self/status", uid=1000, gid=100))
    assert lines_of(status, CAPABILITY_FIELDS) == {
        **dict.fromkeys(CAPABILITY_FIELDS, NONE),
        "CapBnd": DOCKER_SET,
    }
    assert lines_of(status, ("NoNewPrivs",)) == {"NoNewPrivs": "0"}


def test_identity(executor: Executor) -> None:
    outcome = executor.run("cat", "/proc/self/status", uid=1000, gid=100, groups=(100, 27, 999))
    fields = lines_of(fine(outcome), ID_FIELDS)
    assert fields["Uid"].split() == ["1000"] * 4
    assert fields["Gid"].split() == ["100"] * 4
    if not outcome.namespaces["single_id"]:
        assert sorted(fields["Groups"].split(), key=int) == ["27", "100", "999"]


def test_a_setuid_program_works(root_executor: Executor) -> None:
    # busybox keeps the id for `su` alone, or says that it hasn't it.
    complaint = "must be suid"
    assert complaint in root_executor.run("/bin/busybox", "su", uid=1000).output
    os.chmod(root_executor.root / "bin/busybox", 0o4755)
    assert complaint not in root_executor.run("/bin/busybox", "su", uid=1000).output


def test_the_kinds_of_namespaces(executor: Executor) -> None:
    outcome = executor.run("true")
    expected = {
        "root": ("mount", False, "root with CAP_SYS_ADMIN"),
        "root without CAP_SYS_ADMIN": ("user", False, "user namespace, "),
        "newuidmap": ("user", False, "user namespace, "),
        "single id": ("user", True, "user namespace, one id only"),
    }
    kind, single_id, text = expected[executor.identity.name]
    assert (outcome.namespaces["kind"], outcome.namespaces["single_id"]) == (kind, single_id)
    assert text in outcome.isolation
    assert (outcome.namespaces["uid_count"] > 65536) is not single_id


def test_an_id_that_is_not_mapped(mapped_executor: Executor) -> None:
    error = mapped_executor.run("true", uid=3_000_000).error
    assert error is not None
    assert error["type"] == "IsolationError"
    assert "/etc/subuid" in error["hint"]


@pytest.mark.parametrize("shared_pids", [False, True])
def test_what_is_left_behind_is_killed(executor: Executor, *, shared_pids: bool) -> None:
    mark = "31.4159"
    executor.shell(f"setsid sleep {mark} & (setsid sh -c 'sleep {mark}' &) ; exit 0", shared_pids=shared_pids)
    assert mark not in all_command_lines()


@pytest.mark.parametrize("shared_pids", [False, True])
def test_zombies_are_reaped(root_executor: Executor, *, shared_pids: bool) -> None:
    orphans = "for i in 1 2 3 4 5; do sh -c 'true & exec true'; done"
    script = f"{orphans}; sleep 0.3; grep -h ') Z ' /proc/[0-9]*/stat"
    assert "(true)" not in root_executor.shell(script, shared_pids=shared_pids).output


def test_only_its_own_processes_are_seen(executor: Executor) -> None:
    pids = fine(executor.shell("echo /proc/[0-9]*")).split()
    assert set(pids) <= {"/proc/1", "/proc/2", "/proc/3"}


def test_process_1_is_closed_to_the_command(executor: Executor) -> None:
    output = executor.shell(
        "cat /proc/1/fd/4; ls /proc/1/root/; cat /proc/1/environ; kill -9 1; kill -INT 1; echo alive"
    ).output
    assert output.endswith("alive\n")
    assert output.lower().count("permission denied") == 3


def test_the_executors_environment_is_closed(executor: Executor) -> None:
    script = "cat /proc/[0-9]*/environ; ls /proc/[0-9]*/cwd/ /proc/[0-9]*/fd/; echo done"
    process = executor.start(
        executor.request("/bin/sh", "-c", script, shared_pids=True, env={"PATH": "/bin"}),
        env={"TOKEN": "canary-of-the-executor"},
    )
    assert process.wait(30) == 0
    output = (executor.place / "output").read_text(errors="replace")
    assert output.endswith("done\n")
    assert "canary-of-the-executor" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("shared_pids", [False, True])
def test_the_end_of_the_executor_ends_the_step(
    executor: Executor, number: signal.Signals, *, shared_pids: bool
) -> None:
    mark = f"27{int(number)}.1828"
    script = f"trap '' TERM INT HUP; (setsid sleep {mark} &); echo up; sleep {mark}"
    process = executor.start(executor.request("/bin/sh", "-c", script, shared_pids=shared_pids), env={})
    wait_until(lambda: mark in all_command_lines() and "up" in (executor.place / "output").read_text())
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) != 0
    wait_until(lambda: mark not in all_command_lines())
    assert time.monotonic() - started < 5


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def all_command_lines() -> str:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # Only the step's processes: an interpreter's or a shell's own text may hold the mark as well.
        if status != "Z" and words[0] == b"sleep":
            found.append(b" ".join(words).decode())
    return "\n".join(found)
