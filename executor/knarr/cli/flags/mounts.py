"""Flags that say what RUN steps may mount."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import value


@dataclass(frozen=True, slots=True)
class MountFlags:
    """Secrets, SSH agents, named contexts, caches."""

    secret: Annotated[
        tuple[str, ...],
        value(
            "secret", "id=ID[,src=FILE|,env=VAR][,type=file|env], for RUN --mount=type=secret; repeatable."
        ),
    ] = ()
    ssh: Annotated[
        tuple[str, ...],
        value(
            "ssh",
            "default[=SOCKET] or ID=SOCKET: an agent for --mount=type=ssh, default for ADD too; repeatable.",
        ),
    ] = ()
    build_context: Annotated[
        tuple[str, ...],
        value(
            "build-context",
            "NAME=DIRECTORY, docker-image://REFERENCE or oci-layout://PATH, for FROM and from; repeatable.",
        ),
    ] = ()
    mount_cache_dir: Annotated[
        str, value("mount-cache-dir", "Keep cache mounts in this directory, for later builds as well.")
    ] = ""
