"""What the names that the program is started by mean: kaniko's executor, kaniko's warmer, our own."""

from collections.abc import Collection, Sequence

from knarr.errors import UsageError

_KANIKO_COMMANDS = frozenset({"login", "push", "version", "help"})


def command_line(program: str, arguments: Sequence[str], commands: Collection[str]) -> Sequence[str]:
    """The arguments of `knarr` for those of the program with this file name.

    `executor` has the flags of `knarr build`, and the commands beside it. Raises UsageError for `warmer`.
    """
    if program == "warmer":
        raise UsageError(
            "this version of knarr has no cache warmer",
            hint="leave the step out: a build pulls the base images it needs",
        )
    if program != "executor" or (arguments and arguments[0] in _KANIKO_COMMANDS | set(commands)):
        return arguments
    return ["build", *arguments]
