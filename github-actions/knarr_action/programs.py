"""Programs that are run and waited for."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_OF_SIGNALS = 128


def run_program(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program and give its exit status, as a shell has it; who cancels the step ends it, too."""
    # Held back until there is somebody to pass them on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    process = subprocess.Popen(command, env=dict(environment), preexec_fn=_unblock)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    _unblock()
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else _OF_SIGNALS - status


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
