"""Cached layers that prove damaged in the midst of a build."""

import pytest

from knarr.builder.request.cache_settings import CacheSettings
from knarr.builder.request.exports import Export, ExportKind
from knarr.builder.request.request import Outputs
from knarr.oci.digest import Digest
from knarr.oci.reference import Reference
from support.memory_registry import MemoryRegistry
from support.planned_builds import Workshop

FILE = "/files/f"
SAME_STAGE = "FROM base\nRUN write /one 1\nADD http://{host}{file} /file\nRUN copy /file /out\n"
STAGE_BELOW = (
    "FROM base AS below\nRUN write /one 1\nFROM below\nADD http://{host}{file} /file\nRUN copy /file /out\n"
)
SOURCE_STAGE = (
    "FROM base AS tools\nRUN write /one 1\n"
    "FROM base\nADD http://{host}{file} /file\nCOPY --from=tools /one /one\nRUN copy /file /out\n"
)
BUILDS = {"in the stage": SAME_STAGE, "below": STAGE_BELOW, "in a source": SOURCE_STAGE}


class Late:
    """A build of which a download decides; its cache is in a registry in memory."""

    def __init__(self, workshop: Workshop, memory: MemoryRegistry, dockerfile: str) -> None:
        self.workshop = workshop
        self.memory = memory
        self.dockerfile = dockerfile.format(host=memory.host, file=FILE)
        memory.files[FILE] = b"first"
        with workshop.open(self.dockerfile, cache=self.cache) as opened:
            self.last = opened.execute().layers[-1].descriptor.digest
        with workshop.open(self.dockerfile, targets=("0",)) as opened:
            self.first = opened.execute().layers[1].descriptor.digest

    @property
    def cache(self) -> CacheSettings:
        return self.workshop.cache(Reference(self.memory.host, "app/cache"))

    def damage(self, digest: Digest) -> None:
        assert str(digest) in self.memory.blobs
        self.memory.damaged.add(str(digest))


@pytest.mark.parametrize("name", BUILDS)
def test_the_stage_is_built_anew(workshop: Workshop, memory: MemoryRegistry, name: str) -> None:
    late = Late(workshop, memory, BUILDS[name])
    late.damage(late.first)
    memory.files[FILE] = b"second"
    with workshop.open(late.dockerfile, cache=late.cache) as opened:
        plan = opened.build.resolve()
        decisions = opened.build.decide(plan)
        assert memory.pulled(late.first) == 0
        image = opened.build.execute(plan, decisions)
        made = {"one": "1", "file": "second", "out": "second"}
        assert opened.files(image) == {"etc/base": "base", **made}
        assert image.config.diff_ids == tuple(layer.diff_id for layer in image.layers)
    assert opened.ran == ["write /one 1", "copy /file /out"]
    assert opened.judged()["0/1"] == "its entry in the cache is damaged"
    assert [text for text in opened.warnings if "is not used" in text] == opened.warnings
    assert len(opened.warnings) == 1
    assert opened.told.count("stage 0") == opened.told.count("stage ended 0") == 2


def test_what_is_told_of_a_stage_that_is_begun_anew(workshop: Workshop, memory: MemoryRegistry) -> None:
    """The step that found the damage ends with its stage, and is begun again."""
    late = Late(workshop, memory, SAME_STAGE)
    late.damage(late.first)
    memory.files[FILE] = b"second"
    with workshop.open(late.dockerfile, cache=late.cache) as opened:
        opened.execute()
    begun = ["hit 0/1", "step 0/1", "step ended 0/1", "step 0/2", "miss 0/2"]
    made = ["miss 0/1", "step 0/1", "step ended 0/1", "step 0/2", "miss 0/2", "step ended 0/2"]
    last = ["miss 0/3", "step 0/3", "step ended 0/3"]
    assert opened.told == ["stage 0", *begun, "stage ended 0", "stage 0", *made, *last, "stage ended 0"]


@pytest.mark.parametrize("name", BUILDS)
def test_what_was_made_anew_is_kept(workshop: Workshop, memory: MemoryRegistry, name: str) -> None:
    late = Late(workshop, memory, BUILDS[name])
    late.damage(late.first)
    memory.files[FILE] = b"second"
    with workshop.open(late.dockerfile, cache=late.cache) as opened:
        opened.execute()
    memory.damaged.clear()
    with workshop.open(late.dockerfile, cache=late.cache) as opened:
        opened.execute()
    assert (opened.ran, opened.warnings, opened.opened) == ([], [], 0)


@pytest.mark.parametrize("name", BUILDS)
def test_a_layer_that_nobody_reads_may_be_damaged(
    workshop: Workshop, memory: MemoryRegistry, name: str
) -> None:
    late = Late(workshop, memory, BUILDS[name])
    late.damage(late.first)
    with workshop.open(late.dockerfile, cache=late.cache) as opened:
        opened.execute()
    assert memory.pulled(late.first) == 0
    assert (opened.ran, opened.warnings, opened.opened) == ([], [], 0)


def test_outputs_on_disk_read_what_is_found_late(workshop: Workshop, memory: MemoryRegistry) -> None:
    late = Late(workshop, memory, SAME_STAGE)
    late.damage(late.last)
    outputs = Outputs(exports=(Export("-o", ExportKind.OCI_LAYOUT, workshop.place / "out"),))
    with workshop.open(late.dockerfile, cache=late.cache, outputs=outputs) as opened:
        image = opened.execute()
        assert opened.files(image)["out"] == "first"
    assert opened.ran == ["copy /file /out"]
    assert len(opened.warnings) == 1


STEPS = "FROM base\nRUN write /one 1\nRUN write /two 2\nRUN copy /two /three\n"


@pytest.mark.parametrize("damage", ["", "damage"])
def test_a_layer_for_a_directory_that_is_open(
    workshop: Workshop, memory: MemoryRegistry, damage: str
) -> None:
    """The first step has lost its entry; it gives the same again, on which the other entries count."""
    cache = workshop.cache(Reference(memory.host, "app/cache"))
    with workshop.open(STEPS, cache=cache) as opened:
        first, second = (layer.descriptor.digest for layer in opened.execute().layers[1:3])
    memory.forget(first)
    if damage:
        memory.damaged.add(str(second))
    with workshop.open(STEPS.replace("/three", "/four"), cache=cache) as opened:
        made = {"one": "1", "two": "2", "four": "2"}
        assert opened.files(opened.execute()) == {"etc/base": "base", **made}
    repeated = ["write /one 1", "write /two 2"] if damage else ["write /one 1"]
    assert opened.ran == [*repeated, "copy /two /four"]
    assert len(opened.warnings) == (1 if damage else 0)
    assert opened.opened == 1
