"""The known words that a misspelt one may mean."""

import difflib
from collections.abc import Iterable

from knarr.errors import DockerfileError

_FARTHEST = 2


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest of `known`, or None where nothing is near. Case does not matter."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower()[:64], by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[near[0]]}?" if near else None


def wrong(message: str, word: str, known: Iterable[str]) -> DockerfileError:
    """An error about `word`, with the nearest known word as its hint; the caller adds the place."""
    return DockerfileError(message, hint=did_you_mean(word, known))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that the fewest edits (two at most) lead to; None where one is `name` itself.

    An edit adds, drops or replaces a character. Of names equally near the first is taken.
    """
    best, best_distance = None, _FARTHEST + 1
    for candidate in known:
        if candidate == name:
            return None
        if abs(len(candidate) - len(name)) >= best_distance:
            continue
        distance = _distance(name, candidate)
        if distance < best_distance:
            best, best_distance = candidate, distance
    return best


def _distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for index, character in enumerate(first, start=1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(second, start=1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (character != other)),
            )
    return row[-1]
