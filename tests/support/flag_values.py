"""Arguments of the executor as its own parser understands them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from knarr.cli.build import GROUPS
from knarr.cli.command import Command
from knarr.cli.flags.refused import REFUSED


def build_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """Flags of `knarr build` that differ from their defaults, by field. Raises UsageError."""
    seen: list[Any] = []

    def keep(*groups: Any) -> int:
        seen.extend(groups)
        return 0

    Command("build", GROUPS, keep, refused=REFUSED).run(arguments)
    return {
        field.name: _plain(getattr(group, field.name))
        for group in seen
        for field in dataclasses.fields(group)
        if str(getattr(group, field.name)) != str(field.default)
    }


def _plain(value: Any) -> Any:
    return value.on if hasattr(value, "on") else value
