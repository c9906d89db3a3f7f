"""The choice of an isolation, each in a process of its own: it can't be left again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knarr.builder.roots.choose import enter_backend
from knarr.builder.roots.none import NoBackend
from knarr.errors import IsolationError, UsageError
from knarr.progress import Silent
from support.knarr_cli import EXECUTOR

_SCRIPT = """
import ctypes, sys
from pathlib import Path
from knarr.builder.roots.choose import enter_backend
from knarr.errors import IsolationError

class Told:
    def report(self, event):
        print(event.text)

try:
    with enter_backend(sys.argv[1], Path(sys.argv[2]), Told()) as backend:
        print(backend.abilities)
        print("dumpable", ctypes.CDLL(None).prctl(3))
        backend.require()
        backend.claim()
        print("trusted", backend.trusts(Path("/usr/bin/git")))
except IsolationError as error:
    print("refused:", error.message)
"""


def entered(mode: str, place: Path) -> list[str]:
    """What a process says that enters a mode."""
    environment = {**os.environ, "PYTHONPATH": str(EXECUTOR)}
    command = [sys.executable, "-c", _SCRIPT, mode, str(place)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_without_isolation_nothing_runs(tmp_path: Path) -> None:
    line, abilities, dumpable, refused = entered("none", tmp_path)
    assert line == "isolation none: asked for; no RUN step can be run"
    assert "can_run=False" in abilities
    assert dumpable == "dumpable 0"
    assert refused == "refused: a RUN step can't run without isolation"


@pytest.mark.root
def test_namespaces_are_entered_with_one_line_for_the_log(tmp_path: Path) -> None:
    line, abilities, dumpable, trusted = entered("namespace", tmp_path)
    assert line.startswith("isolation namespace: root with CAP_SYS_ADMIN")
    assert "; changes by " in line
    assert "can_run=True, can_mount=True, single_id=False" in abilities
    assert "one_root=False" in abilities
    assert dumpable == "dumpable 0"
    assert trusted == "trusted True"
    assert sorted(os.listdir(tmp_path)) == ["hosts", "resolv.conf"]


def test_in_place_is_for_images_of_ours(tmp_path: Path) -> None:
    (refused,) = entered("inplace", tmp_path)
    assert refused == "refused: cannot build in place: this is no container of a knarr image"


def test_an_unknown_mode_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown isolation 'nane'") as raised:
        enter_backend("nane", tmp_path, Silent())
    assert raised.value.hint == "--isolation takes one of auto, namespace, inplace, none"


def test_a_refusal_is_a_new_one_each_time(tmp_path: Path) -> None:
    backend = NoBackend(IsolationError("no namespaces", hint="allow them"))
    for _ in range(2):
        with pytest.raises(IsolationError) as raised:
            backend.extract(tmp_path, lambda _: None, hash_content=False)
        assert (raised.value.message, raised.value.hint) == ("no namespaces", "allow them")
        raised.value.message = "changed by who caught it"
