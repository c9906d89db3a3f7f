"""Flags of `knarr warm`."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class WarmFlags:
    """Which images, where they are put."""

    image: Annotated[tuple[str, ...], value("image", "Image to put there; repeatable.", short="i")] = ()
    cache_dir: Annotated[str, value("cache-dir", "Directory of base images.", short="c")] = "/cache"
    dockerfile: Annotated[
        str, value("dockerfile", "Dockerfile, a path or URL, whose base images are put there.", short="d")
    ] = ""
    build_arg: Annotated[
        tuple[str, ...],
        value("build-arg", "NAME=VALUE for FROM, or NAME for the value in the environment; repeatable."),
    ] = ()
    force: Annotated[Switch, switch("force", "Pull what is there already.", short="f")] = OFF
    cache_ttl: Annotated[str, value("cache-ttl", "How long what is there counts, such as 6h.")] = "336h"
    custom_platform: Annotated[str, value("custom-platform", "Platform: OS/ARCH[/VARIANT].")] = ""
    old_custom_platform: Annotated[
        str, value("customPlatform", "Old name of --custom-platform.", hidden=True)
    ] = ""
