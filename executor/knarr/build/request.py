"""What a build is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knarr.build.contexts import ContextKey, NamedContext
from knarr.build.git_program import GitProgram
from knarr.build.secrets import Credentials
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the image goes; paths are absolute."""

    destinations: tuple[Reference, ...] = ()
    """Each with a tag. Pushed to in order, and only if `push`; they name the image in a tarball too."""
    push: bool = True
    tar_path: Path | None = None
    oci_layout_path: Path | None = None
    digest_file: Path | None = None

    @property
    def pushed_to(self) -> tuple[Reference, ...]:
        """The destinations, or none with `--no-push`."""
        return self.destinations if self.push else ()

    @property
    def need_all_layers(self) -> bool:
        """Whether every layer's bytes must be here, those of the base image as well."""
        return self.tar_path is not None or self.oci_layout_path is not None


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A build, with all that comes from flags, environment and clock."""

    context: Path
    dockerfile: Path
    """Absolute path of the Dockerfile, which need not lie in the context."""
    outputs: Outputs
    work_dir: Path
    """An empty directory of this build alone, removed by the caller."""
    created_s: int
    """The time of the build, seconds since 1970: of config, history, files without a time of their own."""
    platform: Platform
    build_args: Mapping[str, str]
    labels: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    isolation: str = "auto"
    contexts: Mapping[ContextKey, NamedContext] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=Credentials)
    """What RUN steps may be given."""
    mount_cache_dir: Path | None = None
    """Where cache mounts are kept for later builds; None keeps them for this build alone."""
    git: GitProgram = field(default_factory=GitProgram)
    """Fetches the repositories that ADD names."""
