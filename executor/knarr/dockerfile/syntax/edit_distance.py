"""The nearest of some names, for `(did you mean X?)`."""

from collections.abc import Iterable

_FARTHEST = 2


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
