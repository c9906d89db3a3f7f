"""Whole operations tried again, on top of the repetition of each request."""

from collections.abc import Callable
from typing import TypeVar

from knarr.errors import RegistryError
from knarr.progress import Note
from knarr.registry.client import Client

_T = TypeVar("_T")
_FIRST_WAIT_S = 1.0


def attempt(client: Client, extra: int, doing: str, act: Callable[[int], _T]) -> _T:
    """What `act` gives, called with the number of tries before; after a RegistryError `extra` times more.

    Waits 1 s before the second try, then twice as long each time. `doing` follows "can't" in the notes.
    """
    for number in range(extra):
        try:
            return act(number)
        except RegistryError as error:
            wait_s = _FIRST_WAIT_S * 2**number
            said = f"can't {doing}: {error.message}; trying again in {wait_s:g} s"
            client.reporter.report(Note(said, "warning"))
            client.sleep(wait_s)
    return act(extra)
