"""Images and directories that a Dockerfile names, and where steps find their files."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from knarr.builder.request.contexts import (
    ContextKey,
    DirectoryContext,
    ImageContext,
    LayoutContext,
    NamedContext,
)
from knarr.builder.sources.image_lookup import NamedImages
from knarr.builder.sources.local_source import LocalSource
from knarr.builder.sources.sources import Directories
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.stages.stages import ContextReference, ImageReference, ScratchReference
from knarr.errors import ContextError, DockerfileError
from knarr.images.base_images import BaseImages
from knarr.images.blobs import Blobs
from knarr.images.store import Store
from knarr.layers.tar.read import read_members
from knarr.oci.platform import Platform
from knarr.registry.client import Client
from support.faulty_registry import FaultyRegistry
from support.image_layout import Member
from support.image_registry import ImageRegistry
from support.planned_keys import AMD64, write_base
from support.registry_images import Events
from support.trees import show_tree

ARM64 = Platform.parse("linux/arm64")


class Bench:
    """A lookup with what it works on; `contexts` may be added to."""

    def __init__(self, place: Path, exits: ExitStack) -> None:
        self.place = place
        self.contexts: dict[ContextKey, NamedContext] = {}
        client = exits.enter_context(Client(sleep=lambda _: None))
        self.blobs = Blobs(Store.create(place / "store", durable=False), client)
        exits.callback(self.blobs.close)
        bases = BaseImages(client, Events())
        self.lookup = NamedImages(self.contexts, AMD64, bases, self.blobs, place / "contexts")
        (place / "context").mkdir()
        context = LocalSource(place / "context", IgnorePatterns(), place / "copies")
        self.directories = Directories(context, self.lookup, place / "scratch")
        exits.callback(self.directories.close)

    def directory(self, name: str, files: dict[str, str]) -> Path:
        path = self.place / name
        path.mkdir()
        for each, text in files.items():
            (path / each).write_text(text)
        self.contexts[ContextKey(name)] = DirectoryContext(path)
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as exits:
        yield Bench(tmp_path, exits)


def test_a_directory_as_an_image(bench: Bench) -> None:
    path = bench.directory("other", {"a": "1", "b": "2", ".dockerignore": "b\n"})
    (path / "a").chmod(0o755)
    assert bench.lookup.is_directory("other")
    image = bench.lookup.context_image("other", AMD64)
    assert bench.lookup.context_image("other", AMD64) is image
    assert (len(image.layers), image.config.platform) == (1, AMD64)
    assert [entry.comment for entry in image.config.history] == ["named context"]
    with bench.blobs.open(image.layers[0]) as stream:
        entries = [member.entry for member in read_members(stream)]
    assert [(entry.path, entry.uid, entry.mode) for entry in entries if entry.path] == [
        (".dockerignore", 0, 0o644),
        ("a", 0, 0o755),
    ]


def test_a_directory_is_opened_once(bench: Bench) -> None:
    bench.directory("other", {"a": "1"})
    first = bench.lookup.directory("other")
    assert bench.lookup.directory("other") is first
    assert bench.directories.get(ContextReference("other")) is first


def test_a_missing_directory_is_told_when_it_is_read(bench: Bench) -> None:
    bench.contexts[ContextKey("gone")] = DirectoryContext(bench.place / "gone")
    assert bench.lookup.is_directory("gone")
    with pytest.raises(ContextError, match="gone"):
        bench.lookup.context_image("gone", AMD64)


def test_the_image_of_a_layout_for_each_platform(bench: Bench) -> None:
    layout = write_base(bench.place / "base", [Member("f")], architectures=("amd64", "arm64"))
    bench.contexts[ContextKey("base")] = LayoutContext(layout)
    assert not bench.lookup.is_directory("base")
    images = [bench.lookup.context_image("base", platform) for platform in (AMD64, ARM64)]
    assert [image.config.platform for image in images] == [AMD64, ARM64]
    assert bench.blobs.store.has(images[0].layers[0].descriptor.digest)


def test_a_context_for_one_platform(bench: Bench) -> None:
    """It comes before that of all; where it is not for the build's platform, its name is not there."""
    layouts = {
        name: write_base(bench.place / name, [Member(name)], architectures=("amd64", "arm64"))
        for name in ("one", "all")
    }
    bench.contexts[ContextKey("base", AMD64)] = LayoutContext(layouts["one"])
    bench.contexts[ContextKey("base")] = LayoutContext(layouts["all"])
    bench.contexts[ContextKey("arms", ARM64)] = LayoutContext(layouts["all"])
    assert bench.lookup.context_names == {"base"}
    one, other = (bench.lookup.context_image("base", platform) for platform in (AMD64, ARM64))
    assert one.layers[0].diff_id != other.layers[0].diff_id
    with pytest.raises(DockerfileError, match="arms is not for linux/amd64"):
        bench.lookup.context_image("arms", AMD64)


def test_an_image_of_a_registry_under_both_names(bench: Bench) -> None:
    with FaultyRegistry(ImageRegistry({"f": b"1"})) as registry:
        name = f"{registry.host}/app"
        bench.contexts[ContextKey("base")] = ImageContext(name)
        image = bench.lookup.registry_image(name, AMD64)
        assert bench.lookup.context_image("base", AMD64) is image
        assert sum("/manifests/latest" in line for line in registry.lines) == 1
        assert image.layers[0].origin is not None


def test_where_files_come_from(bench: Bench) -> None:
    (bench.place / "context/f").write_text("x")
    assert show_tree(bench.directories.get(None).tree()) == ["f f =x"]
    assert bench.directories.get(None) is bench.directories.context
    with pytest.raises(AssertionError, match="no directory"):
        bench.directories.get(ImageReference("app"))


def test_scratch_is_an_empty_directory(bench: Bench) -> None:
    nothing = bench.directories.get(ScratchReference())
    assert show_tree(nothing.tree()) == []
    assert not (bench.place / "scratch").exists()
    assert nothing.locate("/a") == (bench.place / "scratch", "/a")
    assert list((bench.place / "scratch").iterdir()) == []
