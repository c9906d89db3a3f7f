"""What is asked of the layer cache."""

from dataclasses import dataclass
from pathlib import Path

from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class CacheRules:
    """Which layers are looked up and kept."""

    run_layers: bool = True
    """Those of RUN and WORKDIR (`--cache-run-layers`)."""
    copy_layers: bool = False
    """Those of COPY and ADD (`--cache-copy-layers`)."""

    def cover(self, *, is_run: bool) -> bool:
        """Whether the cache has to do with a step's layer."""
        return self.run_layers if is_run else self.copy_layers


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where layers are kept, how long they count."""

    place: Reference | Path
    """A repository, or a directory of OCI image layouts."""
    ttl_s: float
    rules: CacheRules
    writes: bool = True
    """False only looks up."""
    base_directory: Path | None = None
    """Where a warmer has put base images, if it has."""
    further: tuple[Reference | Path, ...] = ()
    """Places that are looked up after `place`, and never written to."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What of it lies on this machine."""
        places = (self.place, self.base_directory, *self.further)
        return tuple(place for place in places if isinstance(place, Path))
