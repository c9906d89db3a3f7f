"""The inputs of a step, as an action's variables hand them over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knarr_action.errors import ActionError
from knarr_action.lists import read_list

PREFIX = "KNARR_INPUT_"
"""A composite action gets its inputs from nowhere but the `env` of its steps."""

_BOOLEANS = {"": False, "false": False, "true": True}
_AT_COMMAS = frozenset("add-hosts allow images no-cache-filters platforms secret-envs ssh tags".split())
"""Lists that docker/build-push-action splits at commas as well; `images` is our own."""
_OF_CSV = frozenset(["outputs"])
"""Lists whose quotes are for the reader of each value."""
_UNSTRIPPED = frozenset(["secrets"])


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

    def list(self, name: str) -> Sequence[str]:
        """The values of a list. Raises ActionError."""
        return read_list(
            name,
            self.texts.get(name, "") if name in _UNSTRIPPED else self.text(name),
            at_commas=name in _AT_COMMAS,
            quotes=name not in _OF_CSV,
            strips=name not in _UNSTRIPPED,
        )

    def pairs(self, name: str) -> Sequence[tuple[str, str]]:
        """A list of `NAME=VALUE`; the value may be empty. Raises ActionError."""
        return [_pair(name, value) for value in self.list(name)]


def _pair(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        # Not the text itself: it may be part of a secret.
        raise ActionError(
            f"the input {name} has an entry without a name",
            hint='write name=value; a value that has several lines: "name=value", in double quotes',
        )
    return key.strip(), value
