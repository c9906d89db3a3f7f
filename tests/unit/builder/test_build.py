"""A whole build in its four calls, into an OCI layout, without isolation and without a registry."""

import json
import multiprocessing
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from knarr.builder.build import build_image, dry_run, open_build
from knarr.builder.request.exports import Export, ExportKind
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.errors import ContextError, IsolationError, OutputError, RegistryError
from knarr.linux import syscalls as sc
from knarr.oci.digest import Digest
from knarr.oci.reference import Reference
from knarr.progress import ImageBuilt, Note, Pushed
from knarr.registry.client import Client
from support.flatten import flatten_layout
from support.image_layout import layout_digest
from support.memory_registry import MemoryRegistry
from support.planned_builds import Workshop
from support.registry_images import Events

LINES = """\
FROM scratch AS data
COPY a.txt /data/
FROM scratch
WORKDIR /w
COPY --from=data /data/a.txt b
ADD b.txt /
ENV A=1
"""

NOBODY = 65534


@pytest.fixture(autouse=True)
def readable() -> Iterator[None]:
    """A build closes its process to others' looks; here that is the process of all tests."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    yield
    resource.setrlimit(resource.RLIMIT_CORE, limits)
    sc.prctl(sc.PR_SET_DUMPABLE, 1)


@pytest.fixture
def out(workshop: Workshop) -> Path:
    """Where outputs go; a context is there too."""
    workshop.write({"a.txt": "a", "b.txt": "b"})
    path = workshop.place / "out"
    path.mkdir()
    return path


def request(workshop: Workshop, out: Path, dockerfile: str = LINES, **changes: Any) -> BuildRequest:
    outputs = Outputs(
        exports=(
            Export("--oci-layout-path", ExportKind.OCI_LAYOUT, out / "layout"),
            Export("--tar-path", ExportKind.DOCKER_ARCHIVE, out / "tar"),
        )
    )
    return workshop.request(dockerfile, **{"outputs": outputs, "isolation": "none", **changes})


def build(asked: BuildRequest) -> tuple[Digest, Events]:
    events = Events()
    with Client(reporter=events) as client:
        return build_image(asked, client, events), events


def describe(asked: BuildRequest) -> list[str]:
    with Client() as client:
        return dry_run(asked, client, Events())


def test_a_layout_of_stages(workshop: Workshop, out: Path) -> None:
    digest, events = build(request(workshop, out))
    assert str(digest) == layout_digest(out / "layout")
    image = flatten_layout(out / "layout")
    assert {path: facts.text for path, facts in image.files.items() if facts.kind == "file"} == {
        "/w/b": "a",
        "/b.txt": "b",
    }
    assert {(facts.uid, facts.gid) for facts in image.files.values()} == {(0, 0)}
    assert image.config["config"]["WorkingDir"] == "/w"
    assert "A=1" in image.config["config"]["Env"]
    assert len(image.layer_files) == 3
    built = [event for event in events.events if isinstance(event, ImageBuilt)]
    assert [(event.digest, event.platform, len(event.layers)) for event in built] == [
        (str(digest), "linux/amd64", 3)
    ]
    notes = [event.text for event in events.events if isinstance(event, Note)]
    assert notes == ["isolation none: asked for; no RUN step can be run"]
    assert (out / "tar").is_file()


def test_the_same_digest_twice(workshop: Workshop, out: Path) -> None:
    first, _ = build(request(workshop, out, reproducible=True))
    second, _ = build(request(workshop, out, reproducible=True))
    assert first == second


def test_an_ordinary_user_gets_the_same() -> None:
    """In a directory of its own: other users can't look into that of the tests."""
    with TemporaryDirectory() as place:
        workshop = Workshop.make(Path(place))
        workshop.write({"a.txt": "a", "b.txt": "b"})
        asked = [request(workshop, Path(place) / name, reproducible=True) for name in ("mine", "theirs")]
        for name, owner in (("mine", 0), ("theirs", NOBODY)):
            (Path(place) / name).mkdir()
            if os.geteuid() == 0:
                for path in (Path(place), Path(place) / name, *(each.work_dir for each in asked)):
                    os.chown(path, owner, owner)
        build(asked[0])
        child = multiprocessing.get_context("fork").Process(target=_build_as_nobody, args=(asked[1],))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert layout_digest(Path(place) / "mine/layout") == layout_digest(Path(place) / "theirs/layout")


def _build_as_nobody(asked: BuildRequest) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    build(asked)


def test_a_base_from_a_layout_is_written_with_it(workshop: Workshop, out: Path) -> None:
    build(request(workshop, out, "FROM base\nCOPY a.txt /\n"))
    files = flatten_layout(out / "layout").files
    assert {path for path, facts in files.items() if facts.kind == "file"} == {"/etc/base", "/a.txt"}


def test_a_push_to_a_registry_with_its_tag_last(
    workshop: Workshop, out: Path, memory: MemoryRegistry
) -> None:
    name = Reference(memory.host, "app", tag="1")
    digest, events = build(request(workshop, out, outputs=Outputs((name,))))
    assert [event for event in events.events if isinstance(event, Pushed)] == [Pushed(str(name), str(digest))]
    assert memory.asked[-1] == "PUT /v2/app/manifests/1"
    manifest = json.loads(memory.manifests[f"/v2/app/manifests/{digest}"][1])
    assert {layer["digest"] for layer in manifest["layers"]} <= set(memory.blobs)
    assert list(out.iterdir()) == []


def test_a_failure_leaves_all_outputs_alone(workshop: Workshop, out: Path, memory: MemoryRegistry) -> None:
    name = Reference(memory.host, "app", tag="1")
    asked = request(workshop, out, LINES + "COPY nosuch /\n")
    asked = replace(asked, outputs=replace(asked.outputs, destinations=(name,)))
    with pytest.raises(ContextError, match="nosuch") as caught:
        build(asked)
    assert caught.value.line == 8
    assert list(out.iterdir()) == []
    assert memory.manifests == {}


def test_a_failure_leaves_a_layout_as_it_is(workshop: Workshop, out: Path) -> None:
    build(request(workshop, out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ContextError):
        build(request(workshop, out, LINES + "COPY nosuch /\n"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_step_that_would_run_is_refused_with_a_hint(workshop: Workshop, out: Path) -> None:
    with pytest.raises(IsolationError, match="Dockerfile:2: RUN x: a RUN step can't run") as caught:
        build(request(workshop, out, "FROM scratch\nRUN x\n"))
    assert "--isolation" in str(caught.value.hint)
    assert list(out.iterdir()) == []


def test_an_output_that_cannot_be_written_is_found_before_the_work(workshop: Workshop, out: Path) -> None:
    (out / "layout").mkdir()
    (out / "layout/mine").write_text("mine")
    asked = request(workshop, out, "FROM nowhere.invalid/nothing\n")
    with pytest.raises(OutputError, match="a directory with other files"):
        build(asked)
    assert list(asked.work_dir.iterdir()) == []


def test_a_registry_that_takes_no_push_is_found_before_the_work(
    workshop: Workshop, out: Path, memory: MemoryRegistry
) -> None:
    events = Events()
    nowhere = Reference("127.0.0.1:1", "app", tag="1")
    asked = request(workshop, out, f"FROM {memory.host}/x\n", outputs=Outputs((nowhere,)))
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1"), Client(sleep=lambda _: None) as client:
        build_image(asked, client, events)
    assert memory.asked == []


def test_each_call_takes_what_the_one_before_gave(workshop: Workshop, out: Path) -> None:
    asked, events = request(workshop, out), Events()
    with Client() as client, open_build(asked, client, events) as opened:
        plan = opened.resolve()
        decisions = opened.decide(plan)
        assert not decisions.has_cache
        made = opened.execute(plan, decisions)
        assert list(out.iterdir()) == []
        digest = opened.deliver(made)
    assert layout_digest(out / "layout") == str(digest)


def test_a_dry_run_says_what_would_be_done(workshop: Workshop, out: Path) -> None:
    asked = request(workshop, out, LINES + "RUN <<EOF\none\nEOF\n")
    before = {path: path.read_bytes() for path in workshop.place.rglob("*") if path.is_file()}
    assert describe(asked) == [
        "FROM scratch AS data",
        "COPY a.txt /data/",
        "FROM scratch",
        "WORKDIR /w",
        "COPY --from=data /data/a.txt b",
        "ADD b.txt /",
        "ENV A=1",
        "RUN <<EOF",
        f"WRITE {out}/layout",
        f"WRITE {out}/tar",
    ]
    assert list(out.iterdir()) == []
    after = {path: path.read_bytes() for path in workshop.place.rglob("*") if path.is_file()}
    assert after == before


def test_a_dry_run_with_a_cache_says_what_is_in_it(workshop: Workshop, out: Path) -> None:
    cache = workshop.cache()
    unknown = "  CACHE MISS (what it depends on is built first)"
    absent = "  CACHE MISS (not in the cache)"
    assert describe(request(workshop, out, cache=cache))[1:8] == [
        *("COPY a.txt /data/", absent, "FROM scratch", "WORKDIR /w", absent),
        *("COPY --from=data /data/a.txt b", unknown),
    ]
    assert not (workshop.place / "cache").exists()
    build(request(workshop, out, cache=cache))
    lines = describe(request(workshop, out, cache=cache))
    assert lines.count("  CACHE HIT") == 4
    assert not any("MISS" in line for line in lines)


def test_a_dry_run_pushes_nothing(workshop: Workshop, out: Path, memory: MemoryRegistry) -> None:
    name = Reference(memory.host, "app", tag="1")
    lines = describe(request(workshop, out, outputs=Outputs((name,))))
    assert lines[-1] == f"PUSH [{name}]"
    assert memory.asked == []


def test_a_dry_run_finds_what_is_wrong_without_work(workshop: Workshop, out: Path) -> None:
    lines = "FROM scratch\nENV A=1\nCOPY nosuch /\n"
    with pytest.raises(ContextError, match="Dockerfile:3: COPY nosuch /"):
        describe(request(workshop, out, lines, cache=workshop.cache()))
