"""SIGTERM to a build that is a container's first process, as an orchestrator sends it: it ends at once."""

import json
import os
import subprocess
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from support.builds import MANIFEST_TYPE
from support.counting_registry import CountingRegistry
from support.docker_engine import DOCKER, Engine
from support.faulty_registry import Answer, Asked
from support.registry import Registry

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"
ENDED = 128 + 15
"""A container that is killed, since it did not end in time, has 128 + 9."""
GRACE_S = 5
SPARSE_BYTES = 20 * 1024**3
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Phase:
    """How a build comes to where it is ended."""

    dockerfile: str
    line: str = ""
    """A line of the log, or the end of one."""
    hangs: Callable[[Asked, str], bool] = lambda *_: False
    """Requests that get no answer, told also the digest of the base's layer."""


PHASES = {
    "pull": Phase("FROM debian\nRUN true\n", hangs=lambda asked, layer: asked.path.endswith(layer)),
    "run": Phase("FROM debian\nRUN trap '' TERM; echo begun; sleep 1000 & sleep 1000\n", "begun"),
    "copy": Phase("FROM busybox\nCOPY large /\n", "COPY large /"),
    "copy-in-place": Phase("FROM busybox\nRUN true\nCOPY large /\n", "COPY large /"),
    "push": Phase("FROM busybox\nRUN echo x > /x\n", hangs=lambda asked, _: asked.method in ("PATCH", "PUT")),
}


@contextmanager
def _hanging(registry: Registry, phase: Phase) -> Iterator[tuple[CountingRegistry, Event]]:
    """The registry behind a proxy that leaves requests without an answer; the event says that one came."""
    manifest = json.loads(registry.get("library/debian/manifests/latest", {"Accept": MANIFEST_TYPE}))
    layer: str = manifest["layers"][0]["digest"]
    hung, released = Event(), Event()

    def interfere(asked: Asked) -> Answer | None:
        if not phase.hangs(asked, layer):
            return None
        hung.set()
        released.wait()
        return Answer(404)

    with CountingRegistry(registry) as proxy:
        proxy.interfere = interfere
        try:
            yield proxy, hung
        finally:
            released.set()


@contextmanager
def _started(engine: Engine, name: str, arguments: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A container that runs when the block begins, and is gone when it ends."""
    command = [str(DOCKER), "run", "--rm", f"--name={name}", "--network=host", *arguments]
    process = subprocess.Popen(command, env=_client(engine), stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        subprocess.run([DOCKER, "rm", "--force", name], env=_client(engine), capture_output=True)
        process.communicate()


def _client(engine: Engine) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": str(engine.directory), "DOCKER_HOST": engine.url}


def _wait_for_line(process: "subprocess.Popen[str]", end: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.endswith(f"{end}\n"):
            return
    raise AssertionError("".join(seen))


@pytest.mark.parametrize("name", PHASES)
def test_it_ends_at_once(name: str, engine: Engine, base_registry: Registry, tmp_path: Path) -> None:
    phase = PHASES[name]
    (tmp_path / "Dockerfile").write_text(phase.dockerfile)
    with (tmp_path / "large").open("wb") as large:
        large.truncate(SPARSE_BYTES)
    with _hanging(base_registry, phase) as (proxy, hung):
        arguments = [
            f"--volume={tmp_path}:/workspace:ro",
            IMAGE,
            f"--destination={proxy.registry.host}/ended/{name}:1",
            f"--registry-map=docker.io={proxy.registry.host}",
        ]
        with _started(engine, f"ended-{name}", arguments) as process:
            if phase.line:
                _wait_for_line(process, phase.line)
            else:
                assert hung.wait(_PATIENCE_S)
            stop = [str(DOCKER), "stop", f"--time={GRACE_S}", f"ended-{name}"]
            subprocess.run(stop, env=_client(engine), check=True, capture_output=True)
            _, log = process.communicate(timeout=_PATIENCE_S)
        assert process.returncode == ENDED, log
        assert log.endswith("error: ended by SIGTERM\n")
        assert proxy.count("PUT", "/manifests/") == 0
    with pytest.raises(urllib.error.HTTPError, match="404"):
        base_registry.get(f"ended/{name}/manifests/1", {"Accept": MANIFEST_TYPE})
