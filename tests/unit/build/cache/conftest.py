"""A cache to try."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.build.blobs import Blobs
from knarr.registry.client import Client
from knarr.store import Store
from support.registry_images import Events
from unit.build.cache.cache_bench import Bench, Clock


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock, events = Clock(), Events()
    with Client(reporter=events, sleep=clock.sleep) as client:
        blobs = Blobs(Store.create(tmp_path / "store", durable=False), client)
        yield Bench(blobs, client, events, clock, tmp_path)
        blobs.close()
