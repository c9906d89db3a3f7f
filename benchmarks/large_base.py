"""Measures a small RUN on a large base: knarr, buildah, and the floor of gzip with tar.

    PYTHONPATH=tests python -m benchmarks.large_base [--rounds 3] [--filesystem tmpfs|ext4|xfs]

Needs root: it mounts a fresh file system in a mount namespace of its own, so that nothing of it is left.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Measure, Row, render_table, time_command

from support.bases import Base, base, cache_directory, push
from support.registry import Registry

_DOCKERFILE = "FROM {base}\nRUN echo hello > /etc/knarr-bench\n"
_SIZE = "16G"
_MAKE_FILESYSTEM = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
# Where buildah as root remembers which compressed layer is which, whatever --root says.
_BUILDAH_STATE = Path("/var/lib/containers")


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are: a fresh mount, a registry with the base image, the base's layers as files."""

    mount: Path
    registry: str
    base: str
    layers: tuple[Path, ...]

    @property
    def scratch(self) -> Path:
        """What a run writes; emptied before the next."""
        return self.mount / "scratch"

    @property
    def context(self) -> Path:
        """The build context."""
        return self.mount / "context"

    @property
    def log(self) -> Path:
        """The output of all runs."""
        return self.mount / "log"


def run_knarr(bench: Bench, tag: str) -> Measure:
    """Pull, build, push."""
    command = [sys.executable, "-m", "knarr", "build", f"--context={bench.context}"]
    command += [f"--destination={bench.registry}/knarr-{tag}", f"--insecure-registry={bench.registry}"]
    return time_command(command, log=bench.log, env={"KNARR_DIR": str(bench.scratch)})


def run_buildah(bench: Bench, tag: str) -> Measure:
    """Pull and build, then push; both from an empty storage."""
    name = f"{bench.registry}/buildah-{tag}"
    buildah = ["buildah", f"--root={bench.scratch}/root", f"--runroot={bench.scratch}/run"]
    buildah += ["--storage-driver=overlay"]
    build = [*buildah, "bud", "--isolation=chroot", "--tls-verify=false", f"--tag={name}", str(bench.context)]
    push = [*buildah, "push", "--tls-verify=false", name]
    env = {"TMPDIR": str(bench.scratch)}
    return time_command(build, log=bench.log, env=env) + time_command(push, log=bench.log, env=env)


def run_extract(bench: Bench, _tag: str) -> Measure:
    """Unpack the base's layers with knarr's code."""
    command = [sys.executable, "-m", "benchmarks.extract", str(bench.scratch), *map(str, bench.layers)]
    return time_command(command, log=bench.log)


def run_floor(bench: Bench, _tag: str) -> Measure:
    """Unpack the base's layers with gzip and tar."""
    script = 'set -eo pipefail; cd "$1"; shift; for layer; do gzip -dc "$layer" | tar -x; done'
    command = ["bash", "-c", script, "bash", str(bench.scratch), *map(str, bench.layers)]
    return time_command(command, log=bench.log)


_CONTENDERS: dict[str, Callable[[Bench, str], Measure]] = {
    "knarr": run_knarr,
    "buildah": run_buildah,
    "knarr, extraction only": run_extract,
    "floor: gzip, tar": run_floor,
}


def main(arguments: list[str]) -> int:
    """Set up, measure, print the table on stdout; returns the exit status."""
    options = _parse(arguments)
    if os.geteuid() != 0:
        print("this benchmark mounts a fresh file system: run it as root", file=sys.stderr)
        return 1
    if not options.inside:
        inside = [sys.executable, "-m", "benchmarks.large_base", "--inside", *arguments]
        os.execvp("unshare", ["unshare", "--mount", "--propagation=private", *inside])
    mount = options.work.resolve() / "mount"
    _mount_fresh(options.filesystem, mount)
    with _prepare(mount, options.base) as bench:
        measures: dict[str, list[Measure]] = {name: [] for name in _CONTENDERS}
        for number in range(1, options.rounds + 1):
            for name, run in _CONTENDERS.items():
                measures[name].append(_measure(bench, name, run, f"{number}"))
    rows = [Row(name, rounds) for name, rounds in measures.items()]
    where = f"{options.filesystem}, {os.cpu_count()} CPUs"
    print(f"base {options.base}, {options.rounds} rounds in turn on {where}\n")
    print(render_table(rows, [("knarr", "buildah"), ("knarr, extraction only", "floor: gzip, tar")]))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="large_base", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--filesystem", choices=["tmpfs", *_MAKE_FILESYSTEM], default="tmpfs")
    parser.add_argument("--base", choices=["large", "debian"], default="large", help="debian: a quick trial")
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _measure(bench: Bench, name: str, run: Callable[[Bench, str], Measure], tag: str) -> Measure:
    if bench.scratch.exists():
        shutil.rmtree(bench.scratch)
    bench.scratch.mkdir()
    os.sync()
    measure = run(bench, tag)
    print(f"round {tag}, {name}: {measure.wall_s:.2f} s", file=sys.stderr, flush=True)
    return measure


def _mount_fresh(filesystem: str, mount: Path) -> None:
    mount.mkdir(parents=True, exist_ok=True)
    if filesystem == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "bench", mount], check=True)
    else:
        image = mount.with_suffix(".img")
        image.unlink(missing_ok=True)
        subprocess.run(["truncate", f"--size={_SIZE}", image], check=True)
        subprocess.run([*_MAKE_FILESYSTEM[filesystem], image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        image.unlink()  # the loop device keeps it until the mount namespace ends
    state = mount / "buildah-state"
    state.mkdir()
    _BUILDAH_STATE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", state, _BUILDAH_STATE], check=True)


@contextmanager
def _prepare(mount: Path, name: str) -> Iterator[Bench]:
    chosen = base(name, cache_directory())
    registry = Registry.start(mount)
    try:
        host = registry.host
        push([chosen], host)
        bench = Bench(mount, host, f"{host}/library/{name}:latest", _copy_layers(chosen, mount / "layers"))
        bench.context.mkdir()
        (bench.context / "Dockerfile").write_text(_DOCKERFILE.format(base=bench.base))
        yield bench
    finally:
        registry.stop()


def _copy_layers(image: Base, target: Path) -> tuple[Path, ...]:
    """The base's layers on the fresh file system too, so that everybody reads from the same one."""
    target.mkdir()
    blobs = image.layout / "blobs/sha256"
    manifest = json.loads((blobs / image.digest.removeprefix("sha256:")).read_bytes())
    names = [layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]]
    return tuple(shutil.copyfile(blobs / name, target / name) for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
