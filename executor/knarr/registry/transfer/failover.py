"""Mirrors first, then the registry itself."""

from collections.abc import Callable
from typing import TypeVar

from knarr.errors import CorruptError, RegistryError
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.http.failures import NoAnswerError
from knarr.registry.http.hosts import Endpoint

_T = TypeVar("_T")


def first_of(client: Client, reference: Reference, ask: Callable[[Endpoint], _T]) -> _T:
    """What the first endpoint says that can answer; others leave a note, the last one's error is raised.

    A mirror that can't be reached is not asked again.
    """
    *mirrors, last = client.rules.pull_endpoints(reference.registry)
    for endpoint in mirrors:
        if endpoint in client.unreachable_mirrors:
            continue
        try:
            return ask(endpoint)
        except (RegistryError, CorruptError) as error:
            if isinstance(error, NoAnswerError):
                client.unreachable_mirrors.add(endpoint)
            client.reporter.report(Note(f"mirror {endpoint.registry}: {error.message}", "warning"))
    return ask(last)
