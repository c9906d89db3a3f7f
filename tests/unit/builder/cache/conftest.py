"""A cache to try."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from knarr.images.blobs import Blobs
from knarr.images.store import Store
from knarr.registry.client import Client
from support.registry_images import Events
from unit.builder.cache.cache_bench import Bench, Clock


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock, events = Clock(), Events()
    with ExitStack() as exits:
        client = exits.enter_context(Client(reporter=events, sleep=clock.sleep))
        blobs = Blobs(Store.create(tmp_path / "store", durable=False), client)
        exits.callback(blobs.close)
        yield Bench(blobs, client, events, clock, tmp_path, exits)
