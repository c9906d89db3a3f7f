"""Workflow commands: lines that GitHub makes notes at the run of."""

import sys
from collections.abc import Callable

Warn = Callable[[str], None]


def warn(message: str) -> None:
    """A warning at the run."""
    _print("warning", message)


def fail(message: str, hint: str) -> None:
    """The error that ends the step, in one line."""
    _print("error", f"{message}; hint: {hint}")


def _print(command: str, text: str) -> None:
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{command} title=knarr::{escaped}", file=sys.stderr, flush=True)
