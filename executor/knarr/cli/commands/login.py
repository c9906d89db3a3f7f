"""`knarr login`: keeps a user's password for a registry where builds find it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from knarr.cli.command import Command
from knarr.cli.flags.commands import LoginFlags
from knarr.cli.values.credentials import helper_programs
from knarr.cli.values.environment import read_environment
from knarr.cli.values.registries import parse_host
from knarr.errors import UsageError
from knarr.registry.auth.config_file import keep_credentials

_MAX_PASSWORD_BYTES = 256 * 1024
GROUPS = (LoginFlags,)


def run_login(arguments: Sequence[str]) -> int:
    """Run `knarr login` with its arguments; the result is the exit status."""
    return Command("login", GROUPS, _login).run(arguments)


def _login(flags: LoginFlags) -> int:
    """Keep credentials for a registry in Docker's config file; the registry is not asked."""
    if not flags.registry:
        raise UsageError("login takes one argument, the registry", hint="knarr login REGISTRY -u USER")
    registry = parse_host(flags.registry, "knarr login")
    if not flags.username:
        raise UsageError("username required", hint="--username, or -u")
    environment = read_environment(os.environ)
    path = _config_path(environment)
    password = _password(flags)
    kept_in = keep_credentials(path, registry, flags.username, password, helper_programs(environment))
    print(f"logged in to {registry} as {flags.username}; the credentials are in {kept_in}", file=sys.stderr)
    return 0


def _config_path(environment: Mapping[str, str]) -> Path:
    directory = environment.get("DOCKER_CONFIG")
    home = environment.get("HOME")
    if not directory and not home:
        raise UsageError(
            "there is no place for credentials: neither DOCKER_CONFIG nor HOME is set",
            hint="DOCKER_CONFIG names the directory that holds config.json",
        )
    return (Path(directory) if directory else Path(home or "", ".docker")).absolute() / "config.json"


def _password(flags: LoginFlags) -> str:
    if flags.password and flags.password_stdin:
        raise UsageError("only one of --password or --password-stdin may be given")
    if flags.password:
        print("warning: other processes can see a password among the arguments", file=sys.stderr)
        print("hint: --password-stdin reads it from stdin", file=sys.stderr)
        return flags.password
    if not flags.password_stdin:
        raise UsageError("a password must be supplied via --password or --password-stdin")
    data = sys.stdin.buffer.read(_MAX_PASSWORD_BYTES + 1)
    if len(data) > _MAX_PASSWORD_BYTES:
        raise UsageError(f"the password is longer than {_MAX_PASSWORD_BYTES} bytes")
    try:
        password = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        # The exception holds the password: it is not chained.
        raise UsageError("the password is not UTF-8") from None
    if not password:
        raise UsageError("password is blank")
    return password
