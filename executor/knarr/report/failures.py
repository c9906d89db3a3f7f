"""What ends a build, as the event that reports it."""

from knarr.errors import DockerfileError, EndedBySignal, KnarrError
from knarr.progress import Failed

_INTERNAL = 70


def failure_of(error: BaseException) -> Failed:
    """The event of an exception that leaves a build."""
    if isinstance(error, KnarrError):
        place = error.location if isinstance(error, DockerfileError) else None
        line = place.line if place is not None else error.line
        return Failed(error.message, error.hint or "", line, error.exit_status)
    if isinstance(error, EndedBySignal):
        return Failed(f"ended by {error.name}", exit_status=error.exit_status)
    return Failed(f"internal error: {type(error).__name__}: {error}", exit_status=_INTERNAL)
