"""Ends the program in good order when a signal asks for it."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from knarr.errors import EndedBySignal

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def unwind_on_signals() -> None:
    """Let the signals that end a program raise EndedBySignal: children are killed, files removed, no tag set.

    A signal that is ignored already, as nohup has it, stays ignored.
    """
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _unwind)


def leave(status: int) -> NoReturn:
    """Exit; after a failure without waiting for transfers that were given up, as sys.exit would."""
    if status == 0:
        sys.exit(0)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _unwind(number: int, _frame: FrameType | None) -> None:
    for each in _ENDING:  # a second one must not interrupt what the first began
        signal.signal(each, signal.SIG_IGN)
    raise EndedBySignal(number)
