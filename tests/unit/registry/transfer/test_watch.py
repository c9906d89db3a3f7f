"""How far a blob has come, as events."""

import io

from knarr.oci import media_types
from knarr.oci.reference import Reference
from knarr.progress import Direction, Transfer, TransferProgress, Transferred, TransferStarted
from knarr.registry.client import Client
from knarr.registry.transfer.watch import TransferWatch
from support.registry_images import Events, describe

DATA = bytes(1_000_000)
DESCRIPTOR = describe(DATA, media_types.OCI_LAYER_GZIP)
PLACE = Reference.parse("registry.example/team/app:1")


def transfer(direction: Direction) -> Transfer:
    return Transfer(direction, "registry.example/team/app", str(DESCRIPTOR.digest), len(DATA))


def test_a_download_tells_its_bytes_now_and_then() -> None:
    events = Events()
    with Client(reporter=events) as client:
        watch = TransferWatch.pull(client, PLACE, DESCRIPTOR)
        for _ in range(100):
            watch.add(10_000)
        watch.end("pulled", 2.0)
    started, *progress, ended = events.events
    assert started == TransferStarted(transfer("pull"))
    assert progress == [TransferProgress(transfer("pull"), count) for count in (270_000, 540_000, 810_000)]
    assert ended == Transferred("pulled", str(DESCRIPTOR.digest), 1_000_000, 2.0, "registry.example/team/app")


def test_an_upload_begins_anew_with_each_opening() -> None:
    events = Events()
    with Client(reporter=events) as client:
        source = TransferWatch.push(client, PLACE, DESCRIPTOR).of_source(lambda: io.BytesIO(DATA))
        for _ in range(2):
            with source() as file:
                assert file.read(300_000) == DATA[:300_000]
    told = [TransferStarted(transfer("push")), TransferProgress(transfer("push"), 300_000)]
    assert events.events == told * 2


def test_a_blob_that_is_spared_was_never_begun() -> None:
    events = Events()
    with Client(reporter=events) as client:
        TransferWatch.push(client, PLACE, DESCRIPTOR).end("mounted", 0.1)
    assert [type(event) for event in events.events] == [Transferred]
