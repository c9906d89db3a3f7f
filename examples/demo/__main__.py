"""Builds the demo's image twice, runs it, then says what came out.

    python -m examples.demo DIRECTORY

Everything is written below the directory; nothing is fetched.
"""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from examples.demo.make_base import make_base
from examples.demo.run_layout import Image, read_image, run, unpack

_SOURCE = Path(__file__).parent / "context"
_TAG = "demo.local/cargo:1"


@dataclass(frozen=True, slots=True)
class Build:
    """A finished build: its image, and how long it took in seconds."""

    image: Image
    duration_s: float


def main(directory: Path) -> int:
    """Run the demo; returns the exit status."""
    context, tarball = directory / "context", directory / "cargo.tar"
    _make_context(context)
    builds = []
    for number in (1, 2):
        print(f"--- build {number} of 2", file=sys.stderr, flush=True)
        built = _build(context, directory / f"layout-{number}", tarball)
        if isinstance(built, int):
            return built
        builds.append(built)
    first, second = builds
    print("--- run", file=sys.stderr, flush=True)
    root = directory / "root"
    unpack(first.image, root)
    output = run(first.image, root)
    shutil.rmtree(root)
    _summarise(first, second, tarball, output)
    return 0


def _make_context(context: Path) -> None:
    if context.exists():
        shutil.rmtree(context)
    shutil.copytree(_SOURCE, context)
    make_base(context / "rootfs.tar")


def _build(context: Path, layout: Path, tarball: Path) -> Build | int:
    """Build into a layout and a tarball; an int is the exit status of a build that failed."""
    if layout.exists():
        shutil.rmtree(layout)
    tarball.unlink(missing_ok=True)
    command = [sys.executable, "-m", "knarr", "build", f"--context={context}", f"--destination={_TAG}"]
    command += ["--no-push", f"--oci-layout-path={layout}", f"--tar-path={tarball}", "--build-arg=SHIP=demo"]
    start = time.monotonic()
    finished = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    duration_s = time.monotonic() - start
    if finished.returncode != 0:
        return finished.returncode
    return Build(read_image(layout), duration_s)


def _summarise(first: Build, second: Build, tarball: Path, output: str) -> None:
    layers = [layer["digest"] for layer in first.image.layers]
    again = {layer["digest"] for layer in second.image.layers}
    same = sum(digest in again for digest in layers)
    print(f"\nThe image says:\n\n{_indent(output)}")
    rows = [
        ("image", f"{_TAG}, {len(layers)} layers, {first.image.size_bytes / 1e6:.2f} MB compressed"),
        ("digest", first.image.digest),
        ("first build", f"{first.duration_s:.2f} s"),
        ("second build", f"{second.duration_s:.2f} s, {same} of {len(layers)} layers with the same digest"),
        ("OCI layout", str(first.image.layout)),
        ("docker load -i", str(tarball)),
    ]
    for name, value in rows:
        print(f"{name:16}{value}")


def _indent(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.demo DIRECTORY")
    sys.exit(main(Path(sys.argv[1]).resolve()))
