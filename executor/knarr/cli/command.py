"""A command from its groups of flags: typer's parser behind kaniko's grammar."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_type_hints

import typer

from knarr.cli.flags.kinds import SWITCH_METAVAR, Switch
from knarr.cli.flags.lists import LISTS
from knarr.cli.values.grammar import Flag, Grammar
from knarr.cli.values.spliced_lists import LIST_END
from knarr.errors import UsageError

Handler = Callable[..., int]

_LISTS_HELP = f"""\
Several values in a row: --destinations A B {LIST_END}, and so --annotations, --build-args, --build-contexts,
--extra-tags, --labels, --result-files, --secrets and those of registries. An empty value is as if the
flag were not there. For wrappers whose lists hold other people's values: --lists=N as the first argument
says how many {LIST_END} are the wrapper's own, --extra-args where flags of others begin; one more of either
is refused.
"""


class Command:
    """One command; `handler` gets an instance of each group, in order, and gives the exit status."""

    def __init__(
        self, name: str, groups: Sequence[type], handler: Handler, *, refused: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._groups = groups
        self._handler = handler
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(name=name, help=handler.__doc__, epilog=_LISTS_HELP)(self._function())
        self.parser = typer.main.get_command(app)
        self.grammar = Grammar.of(self._flags(), refused=refused, lists=LISTS)
        positionals = [each for each in self.parser.params if not each.opts[0].startswith("-")]
        takes_any = any(each.nargs < 0 for each in positionals)
        self._positionals = sys.maxsize if takes_any else len(positionals)

    def run(self, arguments: Sequence[str]) -> int:
        """Run with the arguments behind the command's name. Raises UsageError."""
        normal = self.grammar.normalise(arguments)
        given = normal[normal.index("--") + 1 :] if "--" in normal else []
        if len(given) > self._positionals:
            raise UsageError(
                f"unexpected argument for knarr {self._name}: {given[self._positionals]}",
                hint="a switch takes its value behind '=': --no-push=false",
            )
        return self.parser(normal, prog_name=f"knarr {self._name}", standalone_mode=False) or 0

    def _function(self) -> Callable[..., int]:
        """A function whose parameters are the fields of all groups, for typer to look at."""

        def function(**values: Any) -> int:
            return self._handler(*(_instance(group, values) for group in self._groups))

        parameters = [each for group in self._groups for each in _parameters(group)]
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {each.name: each.annotation for each in parameters}
        return function

    def _flags(self) -> list[Flag]:
        options = [each for each in self.parser.params if each.opts[0].startswith("-")]
        return [_flag(each.opts, switch=each.metavar == SWITCH_METAVAR) for each in options]


def _parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_parameter(each, hints[each.name]) for each in dataclasses.fields(group)]


def _parameter(field: "dataclasses.Field[Any]", annotation: Any) -> inspect.Parameter:
    kind, info = get_args(annotation)
    default = field.default
    if kind is Switch:
        default = str(default)
    elif default == ():
        kind, default = list[str] | None, None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[kind, info],
    )


def _instance(group: type, values: dict[str, Any]) -> Any:
    given = {each.name: values[each.name] for each in dataclasses.fields(group)}
    # An empty value is an unset flag: pipelines splice variables that may be empty.
    kept = {each.name for each in dataclasses.fields(group) if each.metadata.get("keeps_empty")}
    texts = {
        name: tuple(item for item in each if item or name in kept)
        for name, each in given.items()
        if isinstance(each, list)
    }
    unset = {name: () for name, each in given.items() if each is None}
    empty = {name for name, each in given.items() if each == "" and name not in kept}
    values = {**given, **unset, **texts}
    return group(**{name: each for name, each in values.items() if name not in empty})


def _flag(names: Sequence[str], *, switch: bool) -> Flag:
    long = next(name[2:] for name in names if name.startswith("--"))
    short = next((name[1:] for name in names if not name.startswith("--")), None)
    return Flag(long, short, switch)
