"""Flags of the layer cache."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, ON, Switch, switch, value


@dataclass(frozen=True, slots=True)
class CacheFlags:
    """Which layers are cached, where, for how long."""

    cache: Annotated[Switch, switch("cache", "Use and fill the layer cache.")] = OFF
    cache_repo: Annotated[
        str,
        value("cache-repo", "Repository of the cache, or oci:DIRECTORY; default <first destination>/cache."),
    ] = ""
    cache_dir: Annotated[
        str, value("cache-dir", "Directory of base images that knarr warm has filled; with --cache.")
    ] = "/cache"
    cache_ttl: Annotated[str, value("cache-ttl", "How long a cached layer counts, such as 6h or 336h.")] = (
        "336h"
    )
    cache_copy_layers: Annotated[Switch, switch("cache-copy-layers", "Cache COPY and ADD too.")] = OFF
    cache_run_layers: Annotated[Switch, switch("cache-run-layers", "Cache RUN and WORKDIR.")] = ON
    cache_from: Annotated[
        tuple[str, ...],
        value(
            "cache-from",
            "Repository or oci:DIRECTORY to look layers up in after --cache-repo, where they are kept then; "
            "repeatable.",
        ),
    ] = ()
    no_cache_filter: Annotated[
        tuple[str, ...],
        value("no-cache-filter", "STAGE[,STAGE]: name of a stage to build without the cache; repeatable."),
    ] = ()
    no_push_cache: Annotated[Switch, switch("no-push-cache", "Look layers up, but keep none.")] = OFF
