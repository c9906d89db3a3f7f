"""Arguments of a wrapper that splices lists of other people's values into its own.

A Tekton Task can splice an array as arguments of their own only, neither quoted nor counted: the values of
`--labels`, `$(params.LABELS[*])`, `--end` could hold an end, and flags behind it. So the Task says in its
first argument, `--lists=N`, how many ends are its own, and with `--extra-args` where the flags of others
begin. One more of either is a value, and refused.
"""

from collections.abc import Sequence

from knarr.errors import UsageError

LIST_END = "--end"
COUNT = "--lists"
EXTRA = "--extra-args"


def without_counts(arguments: Sequence[str]) -> list[str]:
    """The arguments without COUNT and EXTRA, where the first one is COUNT.

    Raises UsageError for a value that is an end, or begins the flags of others.
    """
    first, *rest = arguments or [""]
    flag, _, text = first.partition("=")
    if flag != COUNT:
        return list(arguments)
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{COUNT} takes a number, got {text!r}")
    if rest.count(EXTRA) > 1:
        raise _value_refused(EXTRA)
    own = rest[: rest.index(EXTRA)] if EXTRA in rest else rest
    if own.count(LIST_END) > int(text):
        raise _value_refused(LIST_END)
    if own.count(LIST_END) < int(text):
        raise UsageError(f"{first}: there are {own.count(LIST_END)} {LIST_END} before {EXTRA}")
    return own + rest[len(own) + 1 :]


def _value_refused(value: str) -> UsageError:
    return UsageError(
        f"a value of a list is {value}, which no value can be",
        hint="look at the arrays that the Task was given: flags are taken from EXTRA_ARGS alone",
    )
