"""The `knarr` program: picks the subcommand, turns failures into a message with an exit status."""

import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from knarr.errors import EndedBySignal, KnarrError, UsageError
from knarr.version import __version__

_KANIKO_COMMANDS = frozenset({"login", "push", "version", "help"})
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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
    except EndedBySignal as ended:
        print(f"error: ended by {ended.name}", file=sys.stderr)
        return ended.exit_status
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
    from knarr.cli.commands.build import run_build  # typer takes a fifth of a second to load

    return run_build(arguments)


def _check(arguments: Sequence[str]) -> int:
    from knarr.cli.commands.check import run_check

    return run_check(arguments)


def _push(arguments: Sequence[str]) -> int:
    from knarr.cli.commands.push import run_push

    return run_push(arguments)


def _index(arguments: Sequence[str]) -> int:
    from knarr.cli.commands.index import run_index

    return run_index(arguments)


def _warm(arguments: Sequence[str]) -> int:
    from knarr.cli.commands.warm import run_warm

    return run_warm(arguments)


def _login(arguments: Sequence[str]) -> int:
    from knarr.cli.commands.login import run_login

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


def command_line(program: str, arguments: Sequence[str], commands: Collection[str]) -> Sequence[str]:
    """The arguments of `knarr` for those of the program with this file name.

    `executor` has the flags of `knarr build`, and the commands beside it; `warmer` those of `knarr warm`.
    """
    if program == "warmer":
        return ["warm", *arguments]
    if program != "executor" or (arguments and arguments[0] in _KANIKO_COMMANDS | set(commands)):
        return arguments
    return ["build", *arguments]


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
