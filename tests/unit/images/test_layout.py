"""An OCI layout on disk: what is in it, what killed writers leave, who else is at it."""

import errno
import fcntl
import io
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from knarr.errors import ContextError, CorruptError, KnarrError, OutputError
from knarr.images.image import FinishedImage, Image, Layer
from knarr.images.layout import NAMELESS, OciLayout, is_layout, named, read_layout_image, tags_of
from knarr.images.store import Store
from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import History, ImageConfig
from knarr.oci.manifest import Descriptor, Index
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
DATA = b"a layer " * 1000
LAYER = Layer(Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(DATA), len(DATA)), Digest.of(b"plain"))
PLAIN = ["blobs", "index.json", "oci-layout"]


def finished(data: bytes = DATA, platform: Platform = AMD64) -> FinishedImage:
    layer = Layer(Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(data), len(data)), Digest.of(b"plain"))
    image = Image(ImageConfig.scratch(platform)).with_layer(layer, History())
    return FinishedImage.of(image, lambda _: io.BytesIO(data))


IMAGE = finished()


def put(root: Path, image: FinishedImage = IMAGE, name: str = "example.com/app:1") -> None:
    with OciLayout.open(root) as layout:
        layout.put(image, [named(image.descriptor, name)])


def check_whole(root: Path, image: FinishedImage = IMAGE) -> None:
    """The layout is plain, and has the image with the content of all blobs."""
    assert sorted(os.listdir(root)) == PLAIN
    layout = OciLayout(root)
    (entry,) = layout.entries()
    assert entry.digest == image.descriptor.digest
    for blob in (image.descriptor, *image.blobs):
        assert Digest.of((root / "blobs/sha256" / blob.digest.encoded).read_bytes()) == blob.digest


def test_it_is_an_image_layout(tmp_path: Path) -> None:
    put(tmp_path / "layout")
    check_whole(tmp_path / "layout")
    assert json.loads((tmp_path / "layout/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((tmp_path / "layout/index.json").read_bytes())
    assert index["mediaType"] == media_types.OCI_INDEX
    (entry,) = index["manifests"]
    assert entry["annotations"] == {
        "io.containerd.image.name": "example.com/app:1",
        "org.opencontainers.image.ref.name": "1",
    }


def test_names() -> None:
    assert tags_of([Reference.parse("a/b"), Reference.parse("c:2")]) == [
        "docker.io/a/b:latest",
        "docker.io/library/c:2",
    ]
    assert tags_of([]) == [NAMELESS]


def test_an_image_more_keeps_the_blobs(tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, finished(b"other"), "example.com/app:2")
    check_whole(tmp_path, finished(b"other"))
    assert OciLayout(tmp_path).blobs.holds(LAYER.descriptor)


def test_a_blob_that_is_there_is_not_read_again(tmp_path: Path) -> None:
    put(tmp_path)
    opened: list[Descriptor] = []

    def no_layer(layer: Layer) -> io.BytesIO:
        opened.append(layer.descriptor)
        return io.BytesIO(DATA)

    image = FinishedImage.of(Image(ImageConfig.scratch(AMD64)).with_layer(LAYER, History()), no_layer)
    put(tmp_path, image)
    assert opened == []


def test_a_blob_of_another_size_is_replaced(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "blobs/sha256" / LAYER.descriptor.digest.encoded).write_bytes(DATA[:-1])
    put(tmp_path)
    check_whole(tmp_path)


def _platforms(root: Path) -> None:
    """A layout whose latest is an index of two platforms, with a third image tagged `third`."""
    images = [finished(b"one", AMD64), finished(b"two", ARM64), finished(b"three", AMD64)]
    with OciLayout.open(root) as layout:
        for image in images:
            layout.put(image, [])
        data = Index(media_types.OCI_INDEX, tuple(each.descriptor for each in images[:2])).to_bytes()
        index = Descriptor(media_types.OCI_INDEX, layout.blobs.add(data), len(data))
        layout.write_index([named(index, "x:latest"), named(images[2].descriptor, "x:third")])


@pytest.mark.parametrize(
    ("platform", "tag", "layer"),
    [(AMD64, None, b"one"), (ARM64, None, b"two"), (ARM64, "latest", b"two"), (AMD64, "third", b"three")],
)
def test_an_image_is_found(tmp_path: Path, platform: Platform, tag: str | None, layer: bytes) -> None:
    _platforms(tmp_path / "layout")
    store = Store.create(tmp_path / "store", durable=False)
    image = read_layout_image(tmp_path / "layout", platform, store, tag=tag)
    assert [store.read(each.descriptor.digest, limit_bytes=10) for each in image.layers] == [layer]
    digest = OciLayout(tmp_path / "layout").find(tag)
    assert read_layout_image(tmp_path / "layout", platform, store, digest=digest) == image


def _lose(root: Path) -> None:
    for path in (root / "blobs/sha256").iterdir():
        path.unlink()


def _damage(root: Path) -> None:
    for path in (root / "blobs/sha256").iterdir():
        path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize(
    ("damage", "tag", "kind", "message"),
    [
        (lambda root: None, "2", ContextError, "has no image 2"),
        (lambda root: (root / "index.json").unlink(), None, ContextError, "can't read the OCI layout"),
        (lambda root: (root / "index.json").write_text("{}"), None, CorruptError, "manifest"),
        (_lose, None, CorruptError, "lacks the blob"),
        (_damage, None, CorruptError, "is damaged"),
    ],
)
def test_why_there_is_no_image(
    tmp_path: Path, damage: Callable[[Path], object], tag: str | None, kind: type[KnarrError], message: str
) -> None:
    _platforms(tmp_path / "layout")
    damage(tmp_path / "layout")
    store = Store.create(tmp_path / "store", durable=False)
    with pytest.raises(kind, match=message):
        read_layout_image(tmp_path / "layout", AMD64, store, tag=tag)


def test_no_image_for_a_platform(tmp_path: Path) -> None:
    _platforms(tmp_path / "layout")
    store = Store.create(tmp_path / "store", durable=False)
    with pytest.raises(ContextError, match="no image for linux/riscv64"):
        read_layout_image(tmp_path / "layout", Platform.parse("linux/riscv64"), store)


def test_a_failure_leaves_no_new_directory(tmp_path: Path) -> None:
    with pytest.raises(CorruptError), OciLayout.open(tmp_path / "layout") as layout:
        layout.blobs.copy(LAYER.descriptor, io.BytesIO(DATA[:-1]))
    assert os.listdir(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    put(tmp_path)
    with pytest.raises(CorruptError), OciLayout.open(tmp_path) as layout:
        layout.blobs.copy(finished(b"other").blobs[0], io.BytesIO(DATA))
    check_whole(tmp_path)


def test_a_file_is_no_layout(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="can't make a store in"), OciLayout.open(tmp_path / "file/layout"):
        pass


# Killed writers

KILLING_EVENTS = ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "tempfile.mkstemp")


def _killed_at(root: Path, count: int) -> bool:
    """Write to a layout in a process that kills itself before so many steps; whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            left = count

            def on_step(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal left
                if event in KILLING_EVENTS and str(root) in str(arguments):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(on_step)
            put(root)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("is_new", [True, False])
def test_the_next_writer_heals_what_a_killed_one_left(tmp_path: Path, *, is_new: bool) -> None:
    count = 1
    while True:
        root = tmp_path / str(count)
        if not is_new:
            put(root, finished(b"older"))
        if not _killed_at(root, count):
            break
        assert not root.exists() or is_layout(root)
        put(root)
        check_whole(root)
        count += 1
    assert count > 10
    check_whole(root)


def test_a_writer_that_is_killed_amid_a_blob(tmp_path: Path) -> None:
    root = tmp_path / "layout"
    child = os.fork()
    if child == 0:
        with OciLayout.open(root) as layout, layout.blobs.writer(LAYER.descriptor) as writer:
            writer.write(DATA[:100])
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(os.listdir(root / "ingest")) == 1
    put(root)
    check_whole(root)


def test_leftovers_of_older_versions(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest/tmpabc_1").write_bytes(DATA[:100])
    put(tmp_path, finished(b"other"))
    check_whole(tmp_path, finished(b"other"))


def test_what_is_somebody_elses_stays(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest/mine").write_text("precious")
    put(tmp_path, finished(b"other"))
    assert (tmp_path / "ingest/mine").read_text() == "precious"


@pytest.mark.parametrize(
    ("files", "is_one"),
    [
        ([], True),
        (["oci-layout", "other"], True),
        (["ingest/tmpx"], True),
        (["ingest/other"], False),
        (["blobs/sha256/x"], False),
        (["precious"], False),
        (["ingest/tmpx", "precious"], False),
    ],
)
def test_whether_a_directory_is_a_layout(tmp_path: Path, files: list[str], *, is_one: bool) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert is_layout(tmp_path) == is_one


# Writers at once


def test_a_writer_leaves_the_files_of_another_alone(tmp_path: Path) -> None:
    with OciLayout.open(tmp_path) as layout:
        with layout.blobs.writer(LAYER.descriptor) as writer:
            writer.write(DATA[:100])
            put(tmp_path, finished(b"other"))
            writer.write(DATA[100:])
        layout.put(IMAGE, [IMAGE.descriptor])
    check_whole(tmp_path)


def _put_often(root: Path, number: int, failures: "multiprocessing.Queue[str]") -> None:
    try:
        for count in range(50):
            image = finished(b"%d" % (count % 5))
            put(root, image)
            for blob in (image.descriptor, *image.blobs):
                assert OciLayout(root).blobs.holds(blob)
    except BaseException as error:
        failures.put(f"{number}: {error!r}")


def test_many_writers_at_once(tmp_path: Path) -> None:
    forked = multiprocessing.get_context("fork")
    failures: multiprocessing.Queue[str] = forked.Queue()
    writers = [
        forked.Process(target=_put_often, args=(tmp_path / "layout", number, failures)) for number in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures.empty(), failures.get()
    put(tmp_path / "layout")
    check_whole(tmp_path / "layout")


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks: NFS without its lock daemon, say."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_it_is_written_and_nothing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest/tmpabc_1").write_bytes(b"of a writer that may be alive")
    put(tmp_path)
    assert [entry.digest for entry in OciLayout(tmp_path).entries()] == [IMAGE.descriptor.digest]
    assert os.listdir(tmp_path / "ingest") == ["tmpabc_1"]
