"""What the names that the program is started by mean: kaniko's executor, kaniko's warmer, our own."""

from collections.abc import Collection, Sequence

_KANIKO_COMMANDS = frozenset({"login", "push", "version", "help"})


def command_line(program: str, arguments: Sequence[str], commands: Collection[str]) -> Sequence[str]:
    """The arguments of `knarr` for those of the program with this file name.

    `executor` has the flags of `knarr build`, and the commands beside it; `warmer` those of `knarr warm`.
    """
    if program == "warmer":
        return ["warm", *arguments]
    if program != "executor" or (arguments and arguments[0] in _KANIKO_COMMANDS | set(commands)):
        return arguments
    return ["build", *arguments]
