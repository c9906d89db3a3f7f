"""Flags of `knarr login`."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, argument, switch, value


@dataclass(frozen=True, slots=True)
class LoginFlags:
    """Registry, user, password."""

    registry: Annotated[str, argument("REGISTRY", "Registry: HOST[:PORT].")] = ""
    username: Annotated[str, value("username", "User name.", short="u")] = ""
    password: Annotated[str, value("password", "Password; other processes can see it.", short="p")] = ""
    password_stdin: Annotated[Switch, switch("password-stdin", "Read the password from stdin.")] = OFF
