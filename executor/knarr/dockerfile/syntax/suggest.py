"""Did-you-mean hints for misspelt words."""

import difflib
from collections.abc import Iterable

from knarr.errors import DockerfileError


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest of `known`, or None where nothing is near. Case does not matter."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower()[:64], by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[near[0]]}?" if near else None


def wrong(message: str, word: str, known: Iterable[str]) -> DockerfileError:
    """An error about `word`, with the nearest known word as its hint; the caller adds the place."""
    return DockerfileError(message, hint=did_you_mean(word, known))
