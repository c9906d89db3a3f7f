"""Whole builds with the layer cache, on a registry whose requests are counted."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.oci.digest import Digest
from support.builds import Builds
from support.cache_bench import LINES, MULTI_STAGE, Bench, check_all_cached, hits, misses, warnings
from support.counting_registry import CountingRegistry
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry import Registry


@pytest.fixture
def counting(base_registry: Registry) -> Iterator[CountingRegistry]:
    with CountingRegistry(base_registry) as counting:
        yield counting


@pytest.fixture
def bench(counting: CountingRegistry, tmp_path: Path) -> "Bench":
    return Bench(counting, Builds(counting.registry, tmp_path))


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
    # The new config, unless all this was in one second: then it is the old one.
    assert len(bench.counting.uploads) <= 1


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
