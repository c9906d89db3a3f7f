"""An image in a registry, with a client that reads it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from knarr.progress import Note
from knarr.registry.client import Client
from support.faulty_registry import FaultyRegistry
from support.image_registry import ImageRegistry
from support.registry_images import Events


@dataclass
class Served:
    """What tests of images start from."""

    registry: ImageRegistry
    host: str
    client: Client
    events: Events

    @property
    def name(self) -> str:
        return f"{self.host}/app"

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events.events if isinstance(event, Note)]


@pytest.fixture
def served() -> Iterator[Served]:
    registry, events = ImageRegistry({"a": b"one"}, {"b": b"two"}, {"c": b"three"}), Events()
    with FaultyRegistry(registry) as server:
        with Client(reporter=events, sleep=lambda wait_s: None) as client:
            yield Served(registry, server.host, client, events)
