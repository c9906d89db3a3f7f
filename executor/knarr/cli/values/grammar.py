"""kaniko's command-line grammar: pflag's, which differs from the one that typer reads.

A switch takes a value only behind `=`; every other flag takes the next argument, whatever it looks like;
`-dIMG`, `-d IMG` and `-d=IMG` are the same; abbreviated names do not exist. Beyond pflag: a list,
`--destinations A B --end`, and a switch with an empty value, which is unset.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from knarr.cli.values.spliced_lists import LIST_END, without_counts
from knarr.errors import UsageError

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_HELP = frozenset({"-h", "--help"})


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of a command: its long name without dashes, its letter, whether it is a switch."""

    name: str
    short: str | None = None
    switch: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """The flags of one command; `refused` are flags that pipelines know from kaniko."""

    flags: Mapping[str, Flag]
    shorts: Mapping[str, Flag] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    """By name what to do instead."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """By the name of a list, the flag that each of its values is one of."""

    @classmethod
    def of(
        cls,
        flags: Iterable[Flag],
        *,
        refused: Mapping[str, str] | None = None,
        lists: Mapping[str, str] | None = None,
    ) -> "Grammar":
        """The grammar of these flags, with those of the lists that are of them."""
        by_name = {flag.name: flag for flag in flags}
        shorts = {flag.short: flag for flag in by_name.values() if flag.short}
        own = {plural: name for plural, name in (lists or {}).items() if name in by_name}
        return cls(by_name, shorts, refused or {}, own)

    def normalise(self, arguments: Sequence[str]) -> list[str]:
        """Every flag as one `--name=value`, in order, then `--` with the positional arguments.

        Raises UsageError for an unknown flag, one without its value, or a value that no boolean is.
        """
        flags: list[str] = []
        positional: list[str] = []
        rest = without_counts(arguments)
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                positional += rest
                break
            if argument in _HELP:
                return ["--help"]
            if argument.startswith("--"):
                flags += self._long(argument[2:], rest)
            elif argument.startswith("-") and argument != "-":
                flags.append(self._short(argument[1:], rest))
            else:
                positional.append(argument)
        return [*flags, "--", *positional]

    def _long(self, text: str, rest: list[str]) -> list[str]:
        name, equals, value = text.partition("=")
        if name in self.lists and not equals:
            return [f"--{self.lists[name]}={item}" for item in _list(rest, f"--{name}")]
        flag = self.flags.get(name)
        if flag is None:
            raise self._unknown(name)
        if equals and flag.switch:
            return [f"--{name}={str(_switched(name, value)).lower()}"] if value else []
        if equals:
            return [f"--{name}={value}"]
        return [f"--{name}={'true' if flag.switch else _next(rest, f'--{name}')}"]

    def _short(self, text: str, rest: list[str]) -> str:
        flag = self.shorts.get(text[0])
        if flag is None:
            hint = f"a long flag has two dashes: --{text}" if text.partition("=")[0] in self.flags else None
            raise UsageError(f"unknown flag: -{text[0]} in -{text}", hint=hint)
        value = text[1:].removeprefix("=") if len(text) > 1 else None
        if value is None:
            value = "true" if flag.switch else _next(rest, f"-{flag.short}")
        return f"--{flag.name}={value}"

    def _unknown(self, name: str) -> UsageError:
        if name in self.lists:
            return UsageError(f"--{name} takes no value behind '='", hint=f"write --{name} A B {LIST_END}")
        if name == LIST_END.removeprefix("--"):
            lists = ", ".join(f"--{each}" for each in self.lists)
            return UsageError(f"{LIST_END} ends no list", hint=f"lists are {lists}" if lists else None)
        if name in self.refused:
            return UsageError(f"knarr has no --{name}", hint=self.refused[name])
        close = difflib.get_close_matches(name, [*self.flags, *self.lists], 1)
        return UsageError(f"unknown flag: --{name}", hint=f"did you mean --{close[0]}?" if close else None)


def _switched(name: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except UsageError as error:
        raise UsageError(f"--{name} takes a boolean, got {value!r}", hint=error.hint) from error


def _next(rest: list[str], flag: str) -> str:
    if not rest:
        raise UsageError(f"flag needs an argument: {flag}")
    return rest.pop(0)


def _list(rest: list[str], flag: str) -> list[str]:
    """The values of a list, whatever they look like; they and its end are taken from `rest`."""
    if LIST_END not in rest:
        raise UsageError(f"the list of {flag} has no end", hint=f"write {flag} A B {LIST_END}")
    end = rest.index(LIST_END)
    values = rest[:end]
    del rest[: end + 1]
    return values


def parse_bool(text: str) -> bool:
    """Read a boolean as Go's strconv.ParseBool does; UsageError for any other word."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise UsageError(f"not a boolean: {text!r}", hint="write true or false")


def parse_pair(text: str, flag: str) -> tuple[str, str]:
    """Read `key=value`, split at the first `=`; UsageError without one."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"{flag} takes key=value, got {text!r}")
    return key, value


def parse_map(values: Iterable[str], flag: str) -> list[tuple[str, str]]:
    """Read kaniko's `k=v;k2=v2` lists in order; an empty value adds nothing."""
    return [parse_pair(item, flag) for value in values for item in value.split(";") if item]
