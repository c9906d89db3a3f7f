"""Flags of `knarr push`."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import argument, value


@dataclass(frozen=True, slots=True)
class PushFlags:
    """What is pushed, and where to."""

    path: Annotated[str, argument("PATH", "Tarball of docker save, or OCI image layout directory.")] = ""
    destination: Annotated[
        tuple[str, ...], value("destination", "Push to this name; repeatable.", short="d")
    ] = ()
