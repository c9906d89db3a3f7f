"""Writes docs/reference/cli.md, the commands with their flags, from the code.

    python3 -m scripts.cli_reference [--check]

With `--check` it writes nothing, and fails where the file differs.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from knarr.cli.command import Command
from knarr.cli.commands import build, check, index, login, push, warm
from knarr.cli.flags.kinds import SWITCH_METAVAR
from knarr.cli.flags.lists import LISTS
from knarr.cli.flags.refused import REFUSED

REFERENCE = Path(__file__).resolve().parent.parent / "docs/reference/cli.md"
_MODULES = (build, check, push, index, warm, login)
_HEAD = """\
# The command line

Written by `make tables` from the code. `knarr COMMAND --help` says the same.

- `--name=value` and `--name value` are the same; so are `-dIMAGE`, `-d IMAGE` and `-d=IMAGE`.
- A switch stands alone or takes its value behind `=`: `--cache`, `--cache=false`. Words: `true`, `1`, `t`, …
- A flag that is repeatable keeps the order, and splits nothing at commas.
- An empty value is as if the flag were not there, but for `--credential-helpers=`.
- Started as `executor`, the program takes the flags of `knarr build`, or another command; as `warmer`,
  those of `knarr warm`.
- Exit statuses: [README](../../README.md#exit-statuses). What differs from kaniko:
  [migrate-from-kaniko.md](../migrate-from-kaniko.md).
"""


@dataclass(frozen=True)
class _Flag:
    names: str
    takes: str
    default: str
    help: str
    hidden: bool


def main(arguments: Sequence[str]) -> int:
    """Write or check the file; returns the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python3 -m scripts.cli_reference [--check]", file=sys.stderr)
        return 2
    if not arguments:
        REFERENCE.write_text(reference())
    elif REFERENCE.read_text() != reference():
        print(f"{REFERENCE} is not what the code says; hint: make tables", file=sys.stderr)
        return 1
    return 0


def reference() -> str:
    """The whole page."""
    sections = [_command(module) for module in _MODULES]
    return "\n".join([_HEAD, *sections, _version(), _lists(), _refused()])


def _command(module: ModuleType) -> str:
    name = module.__name__.rpartition(".")[2]
    handler: Callable[..., int] = getattr(module, f"_{name}")
    groups: Sequence[type] = module.GROUPS
    lines = [f"## `knarr {name}`", "", inspect.getdoc(handler) or "", ""]
    hidden: list[_Flag] = []
    for group in groups:
        flags = list(_flags(group, handler))
        hidden += [flag for flag in flags if flag.hidden]
        lines += _table(_title(group), [flag for flag in flags if not flag.hidden])
    if hidden:
        lines += _table("Accepted because kaniko has them", hidden)
    return "\n".join(lines)


def _title(group: type) -> str:
    return (inspect.getdoc(group) or "").partition("\n")[0].rstrip(".")


def _flags(group: type, handler: Callable[..., int]) -> Iterator[_Flag]:
    for parameter in Command("reference", (group,), handler).parser.params:
        if parameter.name != "help":
            yield _flag(parameter)


def _flag(parameter: Any) -> _Flag:
    is_positional = not parameter.opts[0].startswith("-")
    is_switch = parameter.metavar == SWITCH_METAVAR
    names = [parameter.metavar] if is_positional else sorted(parameter.opts, key=len)
    takes = "" if is_positional or is_switch else "text" if parameter.metavar == "TEXT" else parameter.metavar
    default = "" if parameter.default in (None, "", "false") else f"`{parameter.default}`"
    help_text = (parameter.help or "").replace("|", "\\|")
    return _Flag(
        ", ".join(f"`{name}`" for name in names),
        takes,
        default,
        help_text,
        bool(getattr(parameter, "hidden", False)),
    )


def _table(title: str, flags: Sequence[_Flag]) -> list[str]:
    rows = [f"| {flag.names} | {flag.takes} | {flag.default} | {flag.help} |" for flag in flags]
    return (
        [f"### {title}", "", "| flag | takes | default | meaning |", "|---|---|---|---|", *rows, ""]
        if rows
        else []
    )


def _version() -> str:
    return "## `knarr version`\n\nPrint the version; `knarr --version` does the same.\n"


def _lists() -> str:
    rows = [f"| `--{plural}` | `--{name}` |" for plural, name in LISTS.items()]
    head = "## Lists\n\n`--build-args A=1 B=2 --end` is `--build-arg A=1 --build-arg B=2`."
    return "\n".join([head, "", "| list | of |", "|---|---|", *rows, ""])


def _refused() -> str:
    rows = [f"| `--{name}` | {hint} |" for name, hint in sorted(REFUSED.items())]
    head = "## Refused\n\nFlags of kaniko that `knarr build` refuses, exit status 2."
    return "\n".join([head, "", "| flag | instead |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
