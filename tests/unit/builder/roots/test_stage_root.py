"""The files of a stage: an index until a step must run, a directory from then on."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.backend import StepCommand
from knarr.builder.roots.stage_root import StageRoot
from knarr.errors import ContextError
from knarr.exec.abilities import Abilities
from knarr.images.blobs import Blobs
from knarr.images.image import Layer
from knarr.images.store import Store
from knarr.layers.tar.read import TarReader
from knarr.progress import Event, Phase
from knarr.registry.client import Client
from knarr.rootfs.users import UserSpec
from support.fake_backend import ONE_ROOT, PLAIN, FakeBackend
from support.trees import items_of, show_tree

BASE = ("d etc", "f etc/passwd =root", "f old =x")


class Told:
    def __init__(self) -> None:
        self.phases: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Phase):
            self.phases.append(f"{event.name} {event.detail}".strip())


class Bench:
    """Stages of one build in a backend."""

    def __init__(self, place: Path, exits: ExitStack, abilities: Abilities) -> None:
        self.place = place
        self.told = Told()
        self.steps: dict[tuple[str, ...], Callable[[Path], object]] = {}
        client = exits.enter_context(Client(reporter=self.told))
        self.blobs = Blobs(Store.create(place / "store", durable=False), client)
        exits.callback(self.blobs.close)
        self.backend = exits.enter_context(FakeBackend(self.steps, place / "fake", abilities))
        self.base = self.blobs.write_layer(items_of(BASE))
        self.told.phases.clear()
        self._exits = exits

    def stage(
        self, layers: Sequence[Layer] | None = None, *, will_run: bool = False, ignored: Sequence[str] = ()
    ) -> StageRoot:
        snapshots = SnapshotRules.of(ignored, hash_content=False)
        root = StageRoot(
            self.new_place(),
            self.blobs,
            self.backend,
            [self.base] if layers is None else layers,
            snapshots=snapshots,
            will_run=will_run,
        )
        return self.closed(root)

    def child(self, root: StageRoot, *, will_run: bool) -> StageRoot:
        return self.closed(root.child(self.new_place(), will_run=will_run))

    def run(self, root: StageRoot, step: Callable[[Path], object]) -> Layer:
        """Let a function change a root, as a command of the fake backend."""
        argv = (f"step{len(self.steps)}",)
        self.steps[argv] = step
        return root.run(StepCommand(argv, {}, "/", UserSpec(0, 0, (), "/")))

    def closed(self, root: StageRoot) -> StageRoot:
        self._exits.callback(root.close)
        return root

    def new_place(self) -> Path:
        place = self.place / f"stage{len(os.listdir(self.place))}"
        place.mkdir()
        return place

    def paths(self, layer: Layer) -> list[str]:
        with self.blobs.open(layer) as stream:
            return [entry.path for entry in TarReader(stream, whiteouts=False)]


@pytest.fixture
def exits() -> Iterator[ExitStack]:
    with ExitStack() as exits:
        yield exits


@pytest.fixture
def bench(tmp_path: Path, exits: ExitStack) -> Bench:
    return Bench(tmp_path, exits, PLAIN)


@pytest.fixture
def one_root(tmp_path: Path, exits: ExitStack) -> Bench:
    return Bench(tmp_path, exits, ONE_ROOT)


def test_nothing_is_extracted_to_look_or_to_write(bench: Bench) -> None:
    root = bench.stage()
    layer = root.write(items_of(["f new =y"]))
    assert show_tree(root.tree()) == ["d etc", "f etc/passwd =root", "f new =y", "f old =x"]
    assert root.diff_ids == (bench.base.diff_id, layer.diff_id)
    assert bench.backend.events == []
    assert bench.told.phases == ["compress", "index", "index"]


def test_a_step_makes_a_layer_of_its_changes(bench: Bench) -> None:
    root = bench.stage()

    def step(at: Path) -> None:
        (at / "old").unlink()
        (at / "made").write_text("z")

    layer = bench.run(root, step)
    assert bench.paths(layer) == [".wh.old", "made"]
    assert show_tree(root.tree()) == ["d etc", "f etc/passwd =root", "f made =z"]
    assert root.diff_ids == (bench.base.diff_id, layer.diff_id)
    assert bench.told.phases == ["extract base", "run", "snapshot full", "compress"]


def test_layers_that_come_after_the_first_step_are_written_to_the_directory(bench: Bench) -> None:
    root = bench.stage()
    bench.run(root, lambda at: (at / "made").touch())
    cached = bench.blobs.write_layer(items_of(["f cached =c"]))
    root.apply_cached(cached)
    root.write(items_of(["f written =w"]))
    seen: list[list[str]] = []
    layer = bench.run(root, lambda at: seen.append(sorted(os.listdir(at))))
    assert {"cached", "written", "made"} <= set(seen[0])
    assert bench.paths(layer) == []
    assert bench.backend.events == ["extract", "run", "run"]


def test_where_steps_will_run_a_look_extracts(bench: Bench) -> None:
    root = bench.stage(will_run=True)
    root.tree()
    assert bench.told.phases == ["extract base"]


def test_after_the_last_step_a_look_extracts_no_more(bench: Bench) -> None:
    root = bench.stage(will_run=True)
    root.finish()
    assert root.tree().lookup("old") is not None
    assert bench.told.phases == ["index"]


def test_ignored_changes_are_in_no_layer(bench: Bench) -> None:
    root = bench.stage(ignored=["/var/cache"])

    def step(at: Path) -> None:
        (at / "var/cache").mkdir(parents=True)
        (at / "var/cache/x").touch()

    assert bench.paths(bench.run(root, step)) == ["var"]


def test_a_file_that_would_be_a_deletion_is_refused(bench: Bench) -> None:
    root = bench.stage()
    with pytest.raises(ContextError, match=r"writing /\.wh\.old: .* means a deletion"):
        bench.run(root, lambda at: (at / ".wh.old").touch())


def test_a_child_starts_where_its_parent_is(bench: Bench) -> None:
    parent = bench.stage()
    bench.run(parent, lambda at: (at / "made").touch())
    child = bench.child(parent, will_run=True)
    bench.run(child, lambda at: (at / "made").unlink())
    assert parent.tree().lookup("made") is not None
    assert child.tree().lookup("made") is None
    assert child.diff_ids[:2] == parent.diff_ids


def test_a_mount_finds_files_in_the_directory(bench: Bench) -> None:
    directory, path = bench.stage().locate("etc")
    assert (directory / path / "passwd").read_text() == "root"


def test_with_one_directory_a_mount_finds_a_copy(one_root: Bench) -> None:
    root = one_root.stage()
    directory, path = root.locate("/etc")
    assert (path, os.listdir(directory)) == ("", ["passwd"])
    with pytest.raises(ContextError, match="absent"):
        root.locate("/absent")
    assert one_root.backend.events == []


def test_with_one_directory_a_stage_that_lost_it_is_looked_up_in_its_layers(one_root: Bench) -> None:
    first = one_root.stage(will_run=True)
    one_root.run(first, lambda at: (at / "made").touch())
    second = one_root.stage([], will_run=True)
    one_root.run(second, lambda at: (at / "seconds").touch())
    assert show_tree(first.tree()) == ["d etc", "f etc/passwd =root", "f made =", "f old =x"]
    assert show_tree(second.tree()) == ["f seconds ="]
    assert one_root.backend.events.count("extract") == 2


def test_with_one_directory_a_stage_that_will_run_claims_it_at_once(one_root: Bench) -> None:
    first = one_root.stage(will_run=True)
    one_root.run(first, lambda at: (at / "made").touch())
    one_root.told.phases.clear()
    one_root.stage([], will_run=True)
    assert first.tree().lookup("made") is not None
    assert one_root.told.phases == ["index", "index"]


def test_with_one_directory_only_a_child_with_steps_takes_it(one_root: Bench) -> None:
    parent = one_root.stage(will_run=True)
    one_root.run(parent, lambda at: (at / "made").touch())
    one_root.told.phases.clear()
    one_root.child(parent, will_run=False)
    one_root.run(parent, lambda at: (at / "more").touch())
    child = one_root.child(parent, will_run=True)
    one_root.run(child, lambda at: (at / "childs").touch())
    assert "extract base" not in one_root.told.phases
    assert parent.tree().lookup("childs") is None
    assert child.tree().lookup("more") is not None
