"""The `knarr` program: picks the subcommand, turns failures into a message with an exit status."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from knarr.cli.program import command_line
from knarr.cli.signals import leave, unwind_on_signals
from knarr.errors import EndedBySignal, KnarrError, UsageError
from knarr.version import __version__

_USAGE = """\
usage: knarr build [CONTEXT] [flags]
       knarr check [CONTEXT] [flags]
       knarr push PATH -d DESTINATION [flags]
       knarr index IMAGE... -d DESTINATION [flags]
       knarr warm -i IMAGE [flags]
       knarr login REGISTRY -u USER --password-stdin
       knarr version

`knarr build --help` lists the flags, `knarr check --help` those of the check; so do the others.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with the process's arguments, and exit."""
    unwind_on_signals()
    if arguments is None:
        leave(run(sys.argv[1:], program=os.path.basename(sys.argv[0])))
    leave(run(arguments))


def run(arguments: Sequence[str], *, program: str = "knarr") -> int:
    """Run one subcommand; the result is the exit status. `program` is the file name it was started by."""
    try:
        return _dispatch(command_line(program, arguments, _COMMANDS))
    except KnarrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except EndedBySignal as signal:
        print(f"error: ended by {signal.name}", file=sys.stderr)
        return signal.exit_status
    except BrokenPipeError:
        return 141
    except Exception as error:
        kind = type(error).__name__
        print(f"error: internal error: {kind}: {error}", file=sys.stderr)
        print("hint: this is a defect of knarr; KNARR_TRACEBACK=1 shows where", file=sys.stderr)
        _show_traceback()
        return 70


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else UsageError.exit_status
    command = _COMMANDS.get(arguments[0])
    if command is None:
        known = ", ".join(name for name in _COMMANDS if not name.startswith("-"))
        raise UsageError(f"unknown command {arguments[0]!r} for knarr", hint=f"the commands are {known}")
    return command(arguments[1:])


def _build(arguments: Sequence[str]) -> int:
    from knarr.cli.build import run_build  # typer takes a fifth of a second to load

    return run_build(arguments)


def _check(arguments: Sequence[str]) -> int:
    from knarr.cli.check import run_check

    return run_check(arguments)


def _push(arguments: Sequence[str]) -> int:
    from knarr.cli.push import run_push

    return run_push(arguments)


def _index(arguments: Sequence[str]) -> int:
    from knarr.cli.index import run_index

    return run_index(arguments)


def _warm(arguments: Sequence[str]) -> int:
    from knarr.cli.warm import run_warm

    return run_warm(arguments)


def _login(arguments: Sequence[str]) -> int:
    from knarr.cli.login import run_login

    return run_login(arguments)


def _version(arguments: Sequence[str]) -> int:
    if arguments:
        raise UsageError(f"knarr version takes no arguments, got {arguments[0]!r}")
    print(f"knarr {__version__}")
    return 0


_COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "build": _build,
    "check": _check,
    "push": _push,
    "index": _index,
    "warm": _warm,
    "login": _login,
    "version": _version,
    "--version": _version,
}


def _show_traceback() -> None:
    import traceback

    if os.environ.get("KNARR_TRACEBACK"):
        traceback.print_exc()
