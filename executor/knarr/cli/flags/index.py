"""Flags of `knarr index`."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import ON, Switch, argument, switch, value


@dataclass(frozen=True, slots=True)
class IndexFlags:
    """What the index is made of, and where it goes."""

    image: Annotated[
        tuple[str, ...], argument("IMAGE...", "Images by tag or digest, or indexes of them.")
    ] = ()
    destination: Annotated[
        tuple[str, ...], value("destination", "Push the index to this name; repeatable.", short="d")
    ] = ()
    extra_tag: Annotated[
        tuple[str, ...],
        value("extra-tag", "Another tag in the repository of the first destination; repeatable."),
    ] = ()
    prefer_index: Annotated[
        Switch,
        switch(
            "prefer-index", "Make an index of a single IMAGE too; false copies it as it is, to a new name."
        ),
    ] = ON
    annotation: Annotated[tuple[str, ...], value("annotation", "KEY=VALUE in the index; repeatable.")] = ()
