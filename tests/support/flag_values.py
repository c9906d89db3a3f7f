"""Arguments of the executor as its own parser understands them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from knarr.cli.command import Command
from knarr.cli.commands import build, index, warm
from knarr.cli.flags.refused import REFUSED


def build_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """Flags of `knarr build` that differ from their defaults, by field. Raises UsageError."""
    return _flags("build", build.GROUPS, arguments, refused=REFUSED)


def index_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """The same for `knarr index`; its images are `image`."""
    return _flags("index", index.GROUPS, arguments)


def warm_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """The same for `knarr warm`."""
    return _flags("warm", warm.GROUPS, arguments)


def _flags(name: str, groups: Any, arguments: Sequence[str], **more: Any) -> dict[str, Any]:
    seen: list[Any] = []

    def keep(*values: Any) -> int:
        seen.extend(values)
        return 0

    Command(name, groups, keep, **more).run(arguments)
    return {
        field.name: _plain(getattr(group, field.name))
        for group in seen
        for field in dataclasses.fields(group)
        if str(getattr(group, field.name)) != str(field.default)
    }


def _plain(value: Any) -> Any:
    return value.on if hasattr(value, "on") else value
