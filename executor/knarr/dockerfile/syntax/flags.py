"""Flags of instructions: `--name`, `--name=value`.

Three kinds, as in BuildKit: a switch may stand alone or be `=true` or `=false`; a text needs a value; a list
may be given again. They stand before the arguments: `COPY a b --chown=1` copies to a file of that name.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from knarr.dockerfile.syntax.suggest import wrong
from knarr.errors import DockerfileError


class FlagKind(enum.Enum):
    """What a flag takes."""

    SWITCH = "switch"
    TEXT = "text"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class FlagValues:
    """The flags an instruction was given, by name without the dashes."""

    values: Mapping[str, tuple[str, ...]]

    def switch(self, name: str) -> bool | None:
        """True or false as given, None where it was not."""
        given = self.values.get(name)
        return given[-1] == "true" if given else None

    def text(self, name: str) -> str | None:
        """The value, None where the flag was not given."""
        given = self.values.get(name)
        return given[-1] if given else None

    def list(self, name: str) -> tuple[str, ...]:
        """Every value, in order."""
        return self.values.get(name, ())


def parse_flags(words: Iterable[str], known: Mapping[str, FlagKind]) -> FlagValues:
    """Raises DockerfileError without a location."""
    values: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        kind = known.get(name)
        if kind is None:
            raise wrong(f"unknown flag: --{name}", name, known)
        if name in values and kind is not FlagKind.LIST:
            raise DockerfileError(f"Duplicate flag specified: {name}")
        if kind is FlagKind.SWITCH:
            value = _check_switch(name, value, given=bool(equals))
        elif not equals:
            raise DockerfileError(f"missing a value on flag: --{name}", hint=f"--{name}=VALUE")
        values.setdefault(name, []).append(value)
    return FlagValues({name: tuple(given) for name, given in values.items()})


def _check_switch(name: str, value: str, *, given: bool) -> str:
    if not given:
        return "true"
    if not value:
        raise DockerfileError(f"missing a value on flag: --{name}", hint="true or false")
    if value.lower() not in ("true", "false"):
        raise DockerfileError(f"expecting boolean value for flag {name}, not: {value}")
    return value.lower()
