"""Kinds of flags: what a field of a flag group is annotated with."""

from collections.abc import Mapping
from types import MappingProxyType

import typer

from knarr.cli.values.grammar import parse_bool


class Switch:
    """A boolean flag's value, in Go's words."""

    __slots__ = ("on",)

    def __init__(self, *, on: bool) -> None:
        self.on = on

    @classmethod
    def parse(cls, text: str) -> "Switch":
        """Read one of Go's words for a boolean."""
        return cls(on=parse_bool(text))

    def __bool__(self) -> bool:
        return self.on

    def __str__(self) -> str:
        """The word for it."""
        return "true" if self.on else "false"


OFF = Switch(on=False)
ON = Switch(on=True)

SWITCH_METAVAR = "BOOL"
KEEPS_EMPTY: Mapping[str, bool] = MappingProxyType({"keeps_empty": True})
"""Metadata of a field for a repeatable flag whose empty value means something: `("",)`."""


def switch(
    name: str, text: str, *, short: str | None = None, hidden: bool = False
) -> typer.models.OptionInfo:
    """A boolean flag: on where it stands alone, else as its value behind `=` says."""
    names = [f"--{name}", *([f"-{short}"] if short else [])]
    option: typer.models.OptionInfo = typer.Option(
        *names, help=text, metavar=SWITCH_METAVAR, parser=Switch.parse, hidden=hidden
    )
    return option


def value(
    name: str, text: str, *, short: str | None = None, metavar: str = "TEXT", hidden: bool = False
) -> typer.models.OptionInfo:
    """A flag that takes a value; a field of type `tuple[str, ...]` makes it repeatable."""
    names = [f"--{name}", *([f"-{short}"] if short else [])]
    option: typer.models.OptionInfo = typer.Option(*names, help=text, metavar=metavar, hidden=hidden)
    return option


def argument(metavar: str, text: str) -> typer.models.ArgumentInfo:
    """An optional positional argument."""
    info: typer.models.ArgumentInfo = typer.Argument(metavar=metavar, help=text, show_default=False)
    return info
