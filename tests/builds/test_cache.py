"""Whole builds with the layer cache, on a registry whose requests are counted."""

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.oci.digest import Digest
from support.builds import MANIFEST_TYPE, Builds, Result
from support.counting_registry import CountingRegistry
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.flatten import flatten_layout
from support.registry import Registry

MULTI_STAGE = """\
FROM busybox AS tools
RUN echo tool > /tool && echo other > /other
FROM busybox AS build
WORKDIR /src
COPY src/ /src/
RUN cat /src/a /src/sub/b > /out && cat /proc/sys/kernel/random/uuid >> /out
FROM busybox
ENV MODE=fast
COPY --from=tools /tool /tool
COPY --from=build /out /out
RUN cat /out > /final
COPY last /last
"""
FILES = {"src/a": "one\n", "src/sub/b": "two\n", "last": "last\n"}


@pytest.fixture
def counting(base_registry: Registry) -> Iterator[CountingRegistry]:
    with CountingRegistry(base_registry) as counting:
        yield counting


@pytest.fixture
def bench(counting: CountingRegistry, tmp_path: Path) -> "Bench":
    return Bench(counting, Builds(counting.registry, tmp_path))


class Bench:
    """Builds of one Dockerfile in repositories of its own."""

    def __init__(self, counting: CountingRegistry, builds: Builds) -> None:
        self.counting = counting
        self.builds = builds
        self.repository = f"cache/{builds.place.name.lower()}"

    def build(
        self, *arguments: str, dockerfile: str = MULTI_STAGE, files: dict[str, str] | None = None
    ) -> Result:
        """Build from a clean context with --cache and push; what is asked of the registry is counted anew."""
        shutil.rmtree(self.builds.place / "context", ignore_errors=True)
        context = self.builds.context(dockerfile, FILES | (files or {}))
        return self.build_in(context, *arguments)

    def build_in(self, context: Path, *arguments: str) -> Result:
        self.counting.forget()
        destination = () if "--no-push" in arguments else ("-d", self.builds.name(f"{self.repository}:1"))
        return self.builds.run(self.builds.arguments(context, "--cache", *destination, *arguments))

    def diff_ids(self) -> list[str]:
        """The layers of what was pushed last."""
        config = self.builds.config(self.repository, "1")
        found: list[str] = config["rootfs"]["diff_ids"]
        return found

    def cached_keys(self) -> list[str]:
        return self.builds.tags(f"{self.repository}/cache")


def hits(result: Result) -> list[str]:
    """The instructions that came from the cache."""
    sign = "Using caching version of cmd: "
    return [line.partition(sign)[2] for line in result.log.splitlines() if sign in line]


def misses(result: Result) -> list[str]:
    sign = "No cached layer found for cmd "
    return [line.partition(sign)[2] for line in result.log.splitlines() if sign in line]


def warnings(result: Result) -> list[str]:
    return [line for line in result.log.splitlines() if "warning:" in line.lower()]


def check_all_cached(bench: Bench, result: Result) -> None:
    assert misses(result) == []
    assert bench.counting.layers_pulled == []
    assert len(hits(result)) == 4


def elsewhere(bench: Bench) -> Path:
    """The same context in another directory, with other times."""
    place = bench.builds.place / "another" / "checkout"
    shutil.copytree(bench.builds.place / "context", place, copy_function=shutil.copy, symlinks=True)
    return place


def test_a_repeated_build_moves_no_layer(bench: Bench) -> None:
    bench.build("--cache-copy-layers")
    made = bench.diff_ids()
    again = bench.build("--cache-copy-layers")
    check_all_cached(bench, again)
    assert bench.diff_ids() == made
    assert warnings(again) == []
    bench.build("--cache-copy-layers")
    assert bench.counting.uploads == [bench.counting.uploads[0]]  # the new config


def test_a_checkout_elsewhere_changes_nothing(bench: Bench) -> None:
    bench.build("--cache-copy-layers")
    made = bench.diff_ids()
    place = elsewhere(bench)
    for path in (place, *place.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
        if os.getuid() == 0:
            os.chown(path, 4321, 4321)
    check_all_cached(bench, bench.build_in(place, "--cache-copy-layers"))
    assert bench.diff_ids() == made


def test_run_hits_behind_a_copy_that_is_made_again(bench: Bench) -> None:
    lines = "FROM busybox\nCOPY src/ /src/\nRUN cat /src/a > /out\n"
    bench.build(dockerfile=lines)
    place = elsewhere(bench)
    for path in place.rglob("*"):
        os.utime(path, (7, 7))
    again = bench.build_in(place)
    assert hits(again) == ["RUN cat /src/a > /out"]
    assert misses(again) == ["COPY src/ /src/ (not asked for (--cache-copy-layers))"]


def test_only_the_edited_copy_is_made_again(bench: Bench) -> None:
    bench.build("--cache-copy-layers")
    made = bench.diff_ids()
    edited = bench.build("--cache-copy-layers", files={"last": "edited\n"})
    assert misses(edited) == ["COPY last /last (not in the cache)"]
    assert len(hits(edited)) == 3
    assert bench.diff_ids()[:-1] == made[:-1]
    assert bench.diff_ids()[-1] != made[-1]


def test_a_source_stage_is_built_for_a_consumer_that_misses_only(bench: Bench) -> None:
    bench.build("--cache-copy-layers")
    edited = bench.build("--cache-copy-layers", files={"src/a": "edited\n"})
    assert not any("tool > /tool" in line for line in hits(edited) + misses(edited))
    assert any("RUN cat /src/a" in line for line in misses(edited))
    assert any("COPY --from=build" in line for line in misses(edited))


def test_a_source_stage_may_change_beside_what_is_copied(bench: Bench) -> None:
    bench.build("--cache-copy-layers")
    made = bench.diff_ids()
    changed = MULTI_STAGE.replace("echo other", "echo changed")
    again = bench.build("--cache-copy-layers", dockerfile=changed)
    assert [line.partition(" (")[0] for line in misses(again)] == [
        "RUN echo tool > /tool && echo changed > /other"
    ]
    assert bench.diff_ids() == made
    check_all_cached(bench, bench.build("--cache-copy-layers", dockerfile=changed))


def test_run_layers_that_are_not_cached_run(bench: Bench) -> None:
    flags = ("--cache-copy-layers", "--cache-run-layers=false")
    bench.build(*flags)
    made = bench.diff_ids()
    again = bench.build(*flags)
    assert any("RUN cat /src/a" in line for line in misses(again))
    assert any("COPY --from=build" in line for line in misses(again))
    assert any("COPY --from=tools" in line for line in hits(again))
    assert bench.diff_ids() != made


def test_a_cache_in_a_directory(bench: Bench, tmp_path: Path) -> None:
    flags = ("--cache-copy-layers", f"--cache-repo=oci:{tmp_path}/kept")
    bench.build(*flags)
    made = bench.diff_ids()
    check_all_cached(bench, bench.build(*flags))
    assert bench.diff_ids() == made
    assert bench.cached_keys() == []
    (tmp_path / "kept/garbage").write_text("x")
    (tmp_path / "kept/.new-abandoned").mkdir()
    for layout in (tmp_path / "kept").iterdir():
        if (layout / "index.json").exists():
            (layout / "index.json").write_text("garbage")
    again = bench.build(*flags)
    assert "is not used" in again.log
    assert "RUN cat /out > /final" in str(misses(again))
    check_all_cached(bench, bench.build(*flags))


def test_without_a_push(bench: Bench) -> None:
    flags = (
        "--no-push",
        "--cache-copy-layers",
        "--cache-repo",
        bench.builds.name(f"{bench.repository}/kept"),
    )
    bench.build(*flags)
    check_all_cached(bench, bench.build(*flags))
    assert bench.builds.tags(bench.repository) == []
    assert bench.builds.tags(f"{bench.repository}/kept")


def test_no_push_cache_keeps_nothing(bench: Bench) -> None:
    bench.build("--no-push-cache")
    assert bench.cached_keys() == []


def test_an_expired_entry_is_made_again(bench: Bench) -> None:
    lines = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
    bench.build(dockerfile=lines)
    made = bench.diff_ids()
    time.sleep(1.1)
    again = bench.build("--cache-ttl=0s", dockerfile=lines)
    assert "expired" in misses(again)[0]
    assert bench.diff_ids() != made


def test_a_build_that_fails_keeps_what_it_made(bench: Bench) -> None:
    lines = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
    context = bench.builds.context(lines + "RUN false\n")
    destination = bench.builds.name(f"{bench.repository}:1")
    bench.builds.run(bench.builds.arguments(context, "--cache", "-d", destination), status=1)
    assert len(hits(bench.build(dockerfile=lines))) == 1


@pytest.mark.parametrize(
    "answer",
    [Answer(401), Answer(403), Answer(404), Answer(429), Answer(500), Answer(503), Answer(None)],
    ids=lambda answer: str(answer.status),
)
def test_a_cache_that_fails_does_not_fail_the_build(bench: Bench, answer: Answer) -> None:
    def interfere(asked: Asked) -> Answer | None:
        return answer if f"{bench.repository}/cache/" in asked.path else None

    bench.counting.interfere = interfere
    done = bench.build("--cache-copy-layers")
    bench.counting.interfere = lambda _: None
    assert len(warnings(done)) == 1, done.log
    assert len(bench.diff_ids()) == 5
    assert bench.cached_keys() == []


def test_a_cache_that_is_not_there(bench: Bench) -> None:
    done = bench.build("--cache-copy-layers", "--cache-repo=127.0.0.1:1/none")
    assert len(warnings(done)) == 1, done.log
    assert len(bench.diff_ids()) == 5


LINES = "FROM busybox\nRUN echo one > /one\nRUN echo two > /two\nRUN echo three > /three\n"


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


def test_added_files_are_known_by_content(bench: Bench) -> None:
    content = {"/a": b"first"}
    with FaultyRegistry(lambda asked: Answer(200, content["/a"])) as server:
        lines = f"FROM busybox\nADD http://{server.host}/a /a\nRUN cat /a > /b\n"
        bench.build("--cache-copy-layers", dockerfile=lines)
        again = bench.build("--cache-copy-layers", dockerfile=lines)
        assert len(hits(again)) == 2
        assert bench.counting.layers_pulled == []
        content["/a"] = b"second"
        assert hits(bench.build("--cache-copy-layers", dockerfile=lines)) == []
        assert hits(bench.build(dockerfile=lines)) == ["RUN cat /a > /b"]


def test_a_download_with_a_checksum_is_not_made(bench: Bench) -> None:
    checksum = Digest.of(b"first")
    with FaultyRegistry(lambda _: Answer(200, b"first")) as server:
        lines = f"FROM busybox\nADD --checksum={checksum} http://{server.host}/a /a\nRUN cat /a > /b\n"
        bench.build("--cache-copy-layers", dockerfile=lines)
        assert len(server.lines) == 1
        assert len(hits(bench.build("--cache-copy-layers", dockerfile=lines))) == 2
        assert len(server.lines) == 1


def test_a_stage_with_downloads_is_a_source(bench: Bench) -> None:
    with FaultyRegistry(lambda _: Answer(200, b"first")) as server:
        lines = (
            f"FROM busybox AS got\nADD http://{server.host}/a /a\nRUN cat /a > /b\n"
            "FROM busybox\nCOPY --from=got /b /b\nRUN cat /b\n"
        )
        bench.build("--cache-copy-layers", dockerfile=lines)
        again = bench.build("--cache-copy-layers", dockerfile=lines)
    assert len(hits(again)) == 4
    assert misses(again) == []
    assert bench.counting.layers_pulled == []


def test_zstd_layers_are_kept_apart(bench: Bench) -> None:
    bench.build("--compression=zstd", dockerfile=LINES)
    assert hits(bench.build("--image-format=docker", dockerfile=LINES)) == []
    assert len(hits(bench.build("--compression=zstd", dockerfile=LINES))) == 3
