"""Whole builds with a layer cache whose entries are swapped or damaged."""

import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.builds import MANIFEST_TYPE, Builds
from support.cache_bench import LINES, Bench, hits, misses, warnings
from support.counting_registry import CountingRegistry
from support.faulty_registry import Answer, Asked
from support.flatten import flatten_layout
from support.registry import Registry

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(base_registry: Registry, tmp_path: Path) -> Iterator[Bench]:
    with CountingRegistry(base_registry) as counting:
        yield Bench(counting, Builds(counting.registry, tmp_path))


def entry_layers(bench: Bench) -> dict[str, dict[str, Any]]:
    """Descriptors of the cached layers by what their entries are tagged with."""
    cache = f"{bench.repository}/cache"
    manifests = {key: bench.builds.manifest(cache, key) for key in bench.cached_keys()}
    return {key: manifest["layers"][0] for key, manifest in manifests.items() if manifest["layers"]}


def retag(bench: Bench, source: str, target: str) -> None:
    """Let one key stand for the entry of another."""
    url = f"http://{bench.builds.registry.host}/v2/{bench.repository}/cache/manifests"
    data = bench.builds.registry.get(
        f"{bench.repository}/cache/manifests/{source}", {"Accept": MANIFEST_TYPE}
    )
    request = urllib.request.Request(
        f"{url}/{target}", data=data, method="PUT", headers={"Content-Type": MANIFEST_TYPE}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 201


def test_swapped_entries(bench: Bench) -> None:
    bench.build(dockerfile=LINES)
    made = sorted(bench.cached_keys())
    for key, other in zip(made, (*made[1:], made[0]), strict=True):
        retag(bench, other, key)
    again = bench.build(dockerfile=LINES)
    assert "the entry of another key" in again.log
    assert hits(again) == []
    assert_ones_and_twos(bench)


def assert_ones_and_twos(bench: Bench) -> None:
    """What the last build pushed has its three files, by a reader of its own."""
    layout = bench.builds.place / "pulled"
    shutil.rmtree(layout, ignore_errors=True)
    source = f"docker://{bench.counting.behind}/{bench.repository}:1"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"oci:{layout}:latest"], check=True
    )
    image = flatten_layout(layout)
    assert [image.files[f"/{name}"].text for name in ("one", "two", "three")] == ["one\n", "two\n", "three\n"]


@pytest.mark.parametrize("damage", ["truncated", "turned over", "gone", "hangs"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_layer_is_made_again(bench: Bench, damage: str, number: int) -> None:
    bench.build(dockerfile=LINES)
    layer = bench.builds.manifest(bench.repository, "1")["layers"][number + 1]["digest"]

    def interfere(asked: Asked) -> Answer | None:
        if layer not in asked.path or asked.method != "GET":
            return None
        data = Path(bench.builds.registry.blob_path(layer)).read_bytes()
        answers = {
            "truncated": Answer(200, data[:-1]),
            "turned over": Answer(200, data[::-1]),
            "gone": Answer(404),
            "hangs": Answer(None),
        }
        return answers[damage]

    bench.counting.interfere = interfere
    changed = bench.build(dockerfile=LINES + "RUN cat /one /two /three\n")
    bench.counting.interfere = lambda _: None
    assert len([line for line in warnings(changed) if "is not used" in line]) == 1, changed.log
    assert "echo" in str(misses(changed))
    assert_ones_and_twos(bench)


def test_a_damaged_layer_for_a_file(bench: Bench, tmp_path: Path) -> None:
    bench.build(dockerfile=LINES)
    layer = bench.builds.manifest(bench.repository, "1")["layers"][2]["digest"]
    bench.counting.interfere = lambda asked: Answer(404) if layer in asked.path else None
    kept = bench.builds.name(f"{bench.repository}/cache")
    flags = (f"--oci-layout-path={tmp_path}/out", "--no-push", "--cache-repo", kept)
    done = bench.build(*flags, dockerfile=LINES)
    assert "is not used" in done.log
    image = flatten_layout(tmp_path / "out")
    assert image.files["/two"].text == "two\n"


def test_a_damaged_layer_in_a_stage_below(bench: Bench) -> None:
    lines = LINES.replace("FROM busybox", "FROM busybox AS below")
    bench.build(dockerfile=lines + "FROM below\nRUN echo four > /four\n")
    layer = bench.builds.manifest(bench.repository, "1")["layers"][2]["digest"]
    bench.counting.interfere = lambda asked: Answer(404) if layer in asked.path else None
    changed = bench.build(dockerfile=lines + "FROM below\nRUN echo five > /five\n")
    bench.counting.interfere = lambda _: None
    assert "is not used" in changed.log
    assert_ones_and_twos(bench)


def test_a_damaged_layer_in_a_source_stage(bench: Bench) -> None:
    lines = LINES.replace("FROM busybox", "FROM busybox AS source")
    ends = [f"FROM busybox\nCOPY --from=source /one /two /three {to}\n" for to in ("/", "./")]
    bench.build("--cache-copy-layers", dockerfile=lines + ends[0])
    key = sorted(entry_layers(bench))
    digests = [entry_layers(bench)[each]["digest"] for each in key]
    bench.counting.interfere = lambda asked: (
        Answer(404) if asked.method == "GET" and any(digest in asked.path for digest in digests) else None
    )
    changed = bench.build(
        "--cache-copy-layers", dockerfile=lines + ends[1].replace("COPY", "COPY --chmod=600")
    )
    bench.counting.interfere = lambda _: None
    assert "is not used" in changed.log
    assert_ones_and_twos(bench)
