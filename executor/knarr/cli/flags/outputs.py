"""Flags that say where the image goes."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class OutputFlags:
    """Destinations and files."""

    destination: Annotated[
        tuple[str, ...], value("destination", "Push to this name; repeatable.", short="d")
    ] = ()
    no_push: Annotated[Switch, switch("no-push", "Build, but push nothing.")] = OFF
    tar_path: Annotated[str, value("tar-path", "Write a tarball for docker load.")] = ""
    oci_layout_path: Annotated[str, value("oci-layout-path", "Write an OCI image layout directory.")] = ""
    digest_file: Annotated[str, value("digest-file", "Write the manifest's digest, after success.")] = ""
