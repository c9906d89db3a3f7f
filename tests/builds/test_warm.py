"""Base images in a directory: put there by `knarr warm`, found by builds."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.builds import Builds, Result
from support.counting_registry import CountingRegistry
from support.faulty_registry import Answer, FaultyRegistry
from support.knarr_cli import EXECUTOR
from support.registry import Registry

pytestmark = pytest.mark.slow

DAY_S = 24 * 3600
LINES = "FROM busybox\nRUN echo hello > /hello\n"


@pytest.fixture
def counting(base_registry: Registry) -> Iterator[CountingRegistry]:
    with CountingRegistry(base_registry) as counting:
        yield counting


class Bench:
    """A directory of base images before a registry whose requests are counted."""

    def __init__(self, counting: CountingRegistry, builds: Builds) -> None:
        self.counting = counting
        self.builds = builds
        self.cache = builds.place / "bases"

    def registry(self) -> list[str]:
        host = self.counting.registry.host
        return [
            "--registry-map",
            f"docker.io={host}",
            "--insecure-registry",
            host,
            f"--cache-dir={self.cache}",
        ]

    def warm(self, *arguments: str, status: int = 0) -> Result:
        self.counting.forget()
        return self.builds.run(["warm", *self.registry(), *arguments], status=status)

    def build(self, lines: str, *arguments: str) -> Result:
        self.counting.forget()
        context = self.builds.context(lines)
        kept = f"--cache-repo=oci:{self.builds.place}/kept"
        where = [*self.registry(), "--cache", kept, "--no-push", *arguments]
        return self.builds.run(["build", str(context), *where])

    def images(self) -> list[Path]:
        return sorted(path for path in self.cache.iterdir() if path.name.startswith("sha256:"))


@pytest.fixture
def bench(counting: CountingRegistry, tmp_path: Path) -> Bench:
    return Bench(counting, Builds(counting.registry, tmp_path))


def check_sound(layout: Path) -> None:
    """Have another program read the layout, which wants no colon in its name."""
    plain = layout.parent.parent / "plain"
    shutil.copytree(layout, plain)
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{plain}", f"dir:{plain}-dir"], check=True)


def test_a_build_takes_the_base_from_there(bench: Bench) -> None:
    done = bench.warm("-i", "busybox")
    digest, _, name = done.output.strip().partition(" ")
    assert name == "busybox"
    assert [path.name for path in bench.images()] == [digest]
    check_sound(bench.images()[0])
    assert (bench.cache / digest).stat().st_mode & 0o777 == 0o755
    bench.build(LINES)
    assert bench.counting.layers_pulled == []
    assert bench.counting.count("GET", "/manifests/") == 0
    assert bench.counting.count("HEAD", "/manifests/") == 1


def test_a_digest_needs_no_registry(bench: Bench) -> None:
    digest = bench.warm("-i", "busybox").output.split()[0]
    bench.build(f"FROM busybox@{digest}\nRUN echo hello > /hello\n")
    assert bench.counting.exchanges == []


def test_an_index(bench: Bench) -> None:
    bench.warm("-i", "multiarch")
    assert len(bench.images()) == 2
    bench.build("FROM multiarch\nCOPY Dockerfile /\n", f"--oci-layout-path={bench.builds.place}/out")
    assert bench.counting.layers_pulled == []
    assert bench.counting.count("GET", "/manifests/") == 0


def test_without_cache_nothing_is_looked_up(bench: Bench) -> None:
    bench.warm("-i", "busybox")
    bench.build(LINES, "--cache=false")
    assert len(bench.counting.layers_pulled) == 1


def test_what_is_there_is_not_pulled_again(bench: Bench) -> None:
    bench.warm("-i", "busybox")
    bench.warm("-i", "busybox")
    assert bench.counting.layers_pulled == []
    bench.warm("-i", "busybox", "--force")
    assert len(bench.counting.layers_pulled) == 1


def test_what_is_old_does_not_count(bench: Bench) -> None:
    bench.warm("-i", "busybox")
    image = bench.images()[0]
    old_s = image.stat().st_mtime - 15 * DAY_S
    os.utime(image, (old_s, old_s))
    bench.build(LINES)
    assert len(bench.counting.layers_pulled) == 1
    bench.warm("-i", "busybox")
    assert bench.images()[0].stat().st_mtime > old_s + DAY_S
    assert bench.counting.layers_pulled == []  # the layer is taken from the old entry, checked
    bench.build(LINES.replace("hello", "bye"))
    assert bench.counting.layers_pulled == []


def _largest(image: Path) -> Path:
    return max((image / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("damage", ["truncated", "turned over", "gone", "manifests", "empty", "file"])
def test_a_damaged_entry_is_passed_over(bench: Bench, damage: str) -> None:
    bench.warm("-i", "busybox")
    image = bench.images()[0]
    layer = _largest(image)
    data = layer.read_bytes()
    match damage:
        case "truncated":
            layer.write_bytes(data[:-1])
        case "turned over":
            layer.write_bytes(data[::-1])
        case "gone":
            layer.unlink()
        case "manifests":
            for path in (image / "blobs/sha256").iterdir():
                path.write_bytes(path.read_bytes()[:50])
        case "empty":
            shutil.rmtree(image)
            image.mkdir()
        case "file":
            shutil.rmtree(image)
            image.write_text("x")
    done = bench.build(LINES)
    assert len(bench.counting.layers_pulled) == 1
    assert done.log.count("is not used") == (damage != "gone"), done.log
    bench.warm("-i", "busybox")
    if damage != "turned over":
        bench.build(LINES.replace("hello", "bye"))
        assert bench.counting.layers_pulled == []


def test_images_of_a_dockerfile(bench: Bench) -> None:
    path = bench.builds.place / "Dockerfile"
    path.write_text(
        "ARG BASE=bare\nARG NONE\nFROM ${BASE} AS a\nFROM a AS b\nFROM layered\nFROM scratch\nFROM ${NONE}\n"
    )
    done = bench.warm("-d", str(path), "--build-arg", "BASE=busybox")
    assert [line.split()[1] for line in done.output.splitlines()] == ["busybox", "layered"]
    assert "can't tell the image of ${NONE}" in done.log
    with FaultyRegistry(lambda _: Answer(200, b"FROM busybox\n")) as server:
        done = bench.warm("-d", f"http://{server.host}/Dockerfile")
    assert done.output.split()[1:] == ["busybox"]


def test_failures(bench: Bench) -> None:
    done = bench.warm("-i", "missing", "-i", "busybox")
    assert "can't warm missing" in done.log
    done = bench.warm("-i", "missing", status=1)
    assert "failed to warm any of the given images" in done.log
    done = bench.warm(status=2)
    assert "you must select at least one image" in done.log


def _start(bench: Bench, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "knarr", *arguments],
        env={**os.environ, "PYTHONPATH": str(EXECUTOR), "KNARR_DIR": str(bench.builds.work)},
        capture_output=True,
        text=True,
    )


def test_many_at_once(bench: Bench) -> None:
    bench.builds.context(LINES)
    registry = bench.registry()
    context = str(bench.builds.place / "context")
    warm = ["warm", *registry, "-i", "busybox", "-i", "layered"]
    build = [
        "build",
        context,
        *registry,
        "--cache",
        f"--cache-repo=oci:{bench.builds.place}/kept",
        "--no-push",
    ]
    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(_start, bench, *warm) for _ in range(5)]
        done = [future.result() for future in first]
        second = [pool.submit(_start, bench, *each) for each in (warm, build, build, build)]
        done += [future.result() for future in second]
    assert [each.returncode for each in done] == [0] * 9, [each.stderr for each in done]
    assert not any("warning" in each.stderr for each in done)
    pulled = [each.path for each in bench.counting.layers_pulled]
    assert len(pulled) == len(set(pulled))
    assert not [path for path in bench.cache.iterdir() if path.name.startswith(".new-")]
