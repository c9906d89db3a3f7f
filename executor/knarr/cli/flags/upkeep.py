"""Flags about what a build leaves behind in its container, most of them for compatibility."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class UpkeepFlags:
    """What kaniko had to be told, and what is always done here."""

    kaniko_dir: Annotated[
        str, value("kaniko-dir", "Directory to work in; else KNARR_DIR, KANIKO_DIR.", metavar="DIR")
    ] = ""
    cleanup: Annotated[
        Switch, switch("cleanup", "Accepted: the container is always as before afterwards.", hidden=True)
    ] = OFF
    pre_cleanup: Annotated[
        Switch, switch("pre-cleanup", "Accepted: a build always starts from the base alone.", hidden=True)
    ] = OFF
    preserve_context: Annotated[
        Switch, switch("preserve-context", "Accepted: the build context is never touched.", hidden=True)
    ] = OFF
    image_fs_extract_retry: Annotated[
        str, value("image-fs-extract-retry", "Accepted: pulls are retried where they fail.", hidden=True)
    ] = "0"
    force_build_metadata: Annotated[
        Switch, switch("force-build-metadata", "Accepted: metadata is always written.", hidden=True)
    ] = OFF
    skip_unused_stages: Annotated[
        Switch, switch("skip-unused-stages", "Accepted: unused stages are never built.", hidden=True)
    ] = OFF
    build_extra_args: Annotated[
        str, value("build-extra-args", "Of buildah's Task: refused where it is not empty.")
    ] = ""
    push_extra_args: Annotated[
        str, value("push-extra-args", "Of buildah's Task: refused where it is not empty.")
    ] = ""
