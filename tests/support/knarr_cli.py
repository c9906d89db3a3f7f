"""Runs the product as its users do: the command line, in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

EXECUTOR = Path(__file__).resolve().parents[2] / "executor"
INTERNAL_ERROR = 70


def knarr(
    arguments: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout_s: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run `knarr ARGUMENTS`; the caller looks at the exit status."""
    return subprocess.run(
        [sys.executable, "-m", "knarr", *arguments],
        env={**os.environ, "PYTHONPATH": str(EXECUTOR), **(environment or {})},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
    )


def mind_signals() -> None:
    """Signals as a terminal has them, also where the tests were started by nohup or in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
