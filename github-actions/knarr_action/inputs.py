"""The inputs of a step, as an action's variables hand them over."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knarr_action.errors import ActionError

PREFIX = "KNARR_INPUT_"
"""A composite action gets its inputs from nowhere but the `env` of its steps."""

_BOOLEANS = {"": False, "false": False, "true": True}


@dataclass(frozen=True)
class Inputs:
    """Texts by the inputs' names."""

    texts: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Inputs":
        """Those in the environment: `build-args` is in KNARR_INPUT_BUILD_ARGS."""
        return cls(
            {
                name[len(PREFIX) :].lower().replace("_", "-"): text
                for name, text in environment.items()
                if name.startswith(PREFIX)
            }
        )

    def text(self, name: str) -> str:
        """One value, without space around it; empty where the input isn't there."""
        return self.texts.get(name, "").strip()

    def is_true(self, name: str) -> bool:
        """A boolean. Raises ActionError."""
        text = self.text(name)
        try:
            return _BOOLEANS[text.lower()]
        except KeyError:
            raise ActionError(f"the input {name} is {text!r}", hint="it takes true or false") from None

    def lines(self, name: str) -> Sequence[str]:
        """One value a line; empty lines are none."""
        return [line.strip() for line in self.texts.get(name, "").splitlines() if line.strip()]

    def items(self, name: str) -> Sequence[str]:
        """Values at commas or on lines of their own."""
        return [item.strip() for line in self.lines(name) for item in line.split(",") if item.strip()]

    def records(self, name: str) -> Sequence[Mapping[str, str]]:
        """Lines of `key=value,key=value`, quoted as CSV has it; keys in lower case. Raises ActionError."""
        return [dict(_pair(name, field) for field in row) for row in _rows(name, self.lines(name))]

    def pairs(self, name: str) -> Sequence[tuple[str, str]]:
        """`ID=VALUE` a line; a value in double quotes may go on over lines. Raises ActionError."""
        text = self.texts.get(name, "")
        if '"' not in text:
            return [_pair(name, line, keep_case=True) for line in self.lines(name)]
        rows = _rows(name, text.splitlines(keepends=True))
        return [_pair(name, ",".join(row), keep_case=True) for row in rows if any(row)]


def _rows(name: str, lines: Sequence[str]) -> Sequence[Sequence[str]]:
    try:
        return list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise ActionError(f"the input {name} can't be read: {error}", hint="look at its quotes") from error


def _pair(name: str, field: str, *, keep_case: bool = False) -> tuple[str, str]:
    key, equals, value = field.partition("=")
    if not equals or not key.strip():
        # Not the field itself: it may be part of a secret.
        raise ActionError(f"the input {name} has an entry without a name", hint="write name=value")
    key = key.strip()
    return (key if keep_case else key.lower()), value
