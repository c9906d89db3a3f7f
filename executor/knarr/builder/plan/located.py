"""Errors with the place in the Dockerfile that they are about."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.errors import DockerfileError, KnarrError, SourceLocation


@contextmanager
def located(instruction: Instruction) -> Iterator[None]:
    """Say of a KnarrError of the block which instruction it came up in, where it doesn't say one yet."""
    try:
        yield
    except DockerfileError as error:
        place = error.location or instruction.location
        place = dataclasses.replace(place, text=without_credentials(place.text))
        raise DockerfileError(error.message, location=place, hint=error.hint) from error
    except KnarrError as error:
        if not error.line:
            error.message = f"{_place(instruction.location)}: {error.message}"
            error.line = instruction.location.line
        raise


def _place(location: SourceLocation) -> str:
    return f"{location.file}:{location.line}: {without_credentials(location.text).strip()[:120]}"
