"""Cache flags to what the build needs."""

from collections.abc import Sequence
from pathlib import Path

from knarr.builder.request.cache_settings import CacheRules, CacheSettings
from knarr.builder.request.request import Outputs
from knarr.cli.flags.cache import CacheFlags
from knarr.dockerfile.language.durations import parse_duration_ns
from knarr.errors import DockerfileError, UsageError
from knarr.oci.reference import Reference

_LAYOUTS = "oci:"


def read_cache(flags: CacheFlags, outputs: Outputs, working_directory: Path) -> CacheSettings | None:
    """What `--cache` and its companions ask for; None without it. Raises UsageError."""
    if not flags.cache:
        return None
    return CacheSettings(
        place=_place(flags, outputs, working_directory),
        ttl_s=parse_ttl(flags.cache_ttl),
        rules=CacheRules(run_layers=flags.cache_run_layers.on, copy_layers=flags.cache_copy_layers.on),
        writes=not flags.no_push_cache,
        base_directory=_existing(working_directory / flags.cache_dir),
        further=tuple(_named_place(text, working_directory) for text in flags.cache_from),
    )


def cache_places(flags: CacheFlags, working_directory: Path) -> tuple[Path, ...]:
    """The directories that the flags name for caches, whether this build uses them or not."""
    names = (flags.cache_repo.removeprefix(_LAYOUTS),) if flags.cache_repo.startswith(_LAYOUTS) else ()
    return tuple(working_directory / name for name in (*names, flags.cache_dir) if name)


def _existing(directory: Path) -> Path | None:
    return directory if directory.is_dir() else None


def _place(flags: CacheFlags, outputs: Outputs, working_directory: Path) -> Reference | Path:
    if flags.cache_repo:
        return _named_place(flags.cache_repo, working_directory)
    return _default_repository(outputs.destinations if outputs.push else ())


def _named_place(text: str, working_directory: Path) -> Reference | Path:
    if text.startswith(_LAYOUTS):
        return working_directory / text.removeprefix(_LAYOUTS)
    return _repository(Reference.parse(text))


def _default_repository(destinations: Sequence[Reference]) -> Reference:
    if not destinations:
        raise UsageError(
            "--cache without a destination to push to needs a place for the cache",
            hint="--cache-repo names a repository, or oci:DIRECTORY",
        )
    first = destinations[0]
    return Reference(first.registry, f"{first.repository}/cache")


def _repository(reference: Reference) -> Reference:
    if reference.tag is not None or reference.digest is not None:
        raise UsageError(f"--cache-repo takes a repository without a tag: {reference.name}")
    return reference


def parse_ttl(text: str) -> float:
    """A duration of `--cache-ttl` in seconds. Raises UsageError."""
    try:
        nanoseconds = parse_duration_ns(text)
    except DockerfileError as error:
        raise UsageError(f"--cache-ttl: {error.message}", hint="write 6h, 336h or 1h30m") from error
    if nanoseconds < 0:
        raise UsageError(f"--cache-ttl {text} is negative")
    return nanoseconds / 10**9
