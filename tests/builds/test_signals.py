"""Signals in the middle of a build: it ends at once, with nothing left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from support.builds import Builds
from support.faulty_registry import Answer, Asked, FaultyRegistry, Script
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

_PATIENCE_S = 20.0  # far less than what a registry that hangs is given


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def _wait_for_line(build: "subprocess.Popen[str]", text: str) -> None:
    assert build.stderr is not None
    seen = []
    for line in build.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen))


def _end(builds: Builds, build: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> None:
    """Send the signal; the build must end soon, say why, and have removed its files with their mounts."""
    build.send_signal(number)
    try:
        _, log = build.communicate(timeout=_PATIENCE_S)
    finally:
        build.kill()
    assert build.returncode == 128 + number, log
    assert log.endswith(f"error: ended by {signal.Signals(number).name}\n")
    assert list(builds.work.iterdir()) == []
    assert str(builds.work) not in Path("/proc/self/mounts").read_text()


def _running(marker: str) -> bool:
    """Whether a process has this word on its command line."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (directory / "cmdline").read_bytes().split(b"\0"):
                return True
        except OSError:  # it has ended meanwhile
            continue
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda each: each.name)
def test_signal_in_a_step(builds: Builds, number: int) -> None:
    seconds = str(100_000 + os.getpid())
    script = f"trap '' TERM INT HUP; sleep {seconds} & echo begun; sleep {seconds}; wait"
    name = builds.name(f"signals/step{number}:1")
    build = builds.start(f"FROM busybox\nRUN {script}\n", "-d", name)
    _wait_for_line(build, "begun\n")
    _wait_for(lambda: _running(seconds))
    _end(builds, build, number)
    assert not _running(seconds)
    assert builds.tags(f"signals/step{number}") == []


@pytest.mark.debian
def test_signal_in_a_copy_that_looks_at_an_overlay(builds: Builds) -> None:
    build = builds.start(
        "FROM busybox\nRUN echo x > /x\n" + "COPY --from=debian / /debian/\n" * 20, "--no-push"
    )
    _wait_for(lambda: "/stage0/view " in Path(f"/proc/{build.pid}/mounts").read_text())
    _end(builds, build)


@pytest.mark.debian
def test_second_signal_does_not_disturb_the_first(builds: Builds) -> None:
    build = builds.start("FROM debian\nRUN echo begun; sleep 1000\n", "--no-push")
    _wait_for_line(build, "begun\n")
    build.send_signal(signal.SIGTERM)
    _end(builds, build, signal.SIGTERM)


@contextmanager
def _hanging(script: Callable[[Asked], Answer | None]) -> Iterator[tuple[FaultyRegistry, Event]]:
    """A registry that hangs where the script gives no answer; the event says that it does."""
    hangs, released = Event(), Event()

    def answer(asked: Asked) -> Answer:
        given = script(asked)
        if given is None:
            hangs.set()
            released.wait()
        return given or Answer(404)

    hanging: Script = answer
    with FaultyRegistry(hanging) as registry:
        try:
            yield registry, hangs
        finally:
            released.set()


def _upload_hangs(asked: Asked) -> Answer | None:
    if asked.method == "POST":
        return Answer(202, headers={"Location": f"{asked.path}1"})
    return None if asked.method in ("PUT", "PATCH") else Answer(404)


def test_signal_while_a_push_hangs(builds: Builds) -> None:
    with _hanging(_upload_hangs) as (registry, hangs):
        flags = ["-d", f"{registry.host}/app:1", "--insecure-registry", registry.host]
        build = builds.start("FROM busybox\nRUN echo x > /x\n", *flags)
        _wait_for(hangs.is_set)
        _end(builds, build)
        assert not [line for line in registry.lines if "/manifests/" in line]


def test_failing_step_while_a_push_hangs(builds: Builds) -> None:
    """The failure is told at once; it doesn't wait for an upload that never ends."""
    with _hanging(_upload_hangs) as (registry, hangs):
        flags = ["-d", f"{registry.host}/app:1", "--insecure-registry", registry.host]
        build = builds.start("FROM busybox\nRUN echo x > /x\nRUN sleep 1; exit 9\n", *flags)
        _wait_for(hangs.is_set)
        _, log = build.communicate(timeout=_PATIENCE_S)
        assert build.returncode == 9, log
        assert "Dockerfile:3: RUN sleep 1; exit 9" in log
        assert list(builds.work.iterdir()) == []


@pytest.mark.parametrize("dockerfile", ["FROM {}\n", "FROM {}\nRUN true\n"], ids=["all", "one"])
def test_signal_while_a_pull_hangs(builds: Builds, dockerfile: str) -> None:
    def answer(asked: Asked) -> Answer | None:
        if asked.method == "GET" and asked.path.endswith(layers[0]["digest"]):
            return None
        return _relayed(builds.registry, asked)

    layers = builds.manifest("library/layered", "latest")["layers"]
    with _hanging(answer) as (registry, hangs):
        base = f"{registry.host}/library/layered"
        flags = ["--insecure-registry", registry.host, "--tar-path", str(builds.place / "tar")]
        build = builds.start(dockerfile.format(base), *flags)
        _wait_for(hangs.is_set)
        _end(builds, build)
    assert not (builds.place / "tar").exists()


def _relayed(registry: Registry, asked: Asked) -> Answer:
    """What the real registry answers."""
    accept = asked.headers.get("accept", "*/*")
    body = registry.get(asked.path.removeprefix("/v2/"), {"Accept": accept})
    kind = "application/vnd.oci.image.manifest.v1+json" if "/manifests/" in asked.path else "application/json"
    return Answer(200, body, {"Content-Type": kind})
