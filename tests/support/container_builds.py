"""Whole-build cases in stock containers of the executor's image, with volumes mounted beside."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from support.corpus import Written
from support.flatten import FlatImage, flatten_layout
from support.registry import Registry
from support.volumes import VOLUMES, look_at, make_volumes

IMAGE = "knarr/executor:debug"


class Containers(Protocol):
    """What runs an image's container to its end, in the host's network."""

    def run_to_end(
        self, image: str, arguments: Sequence[str] = (), *, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run it, whatever the exit status."""


@dataclass(frozen=True, slots=True)
class BuiltInside:
    """How a build in a container ended, and whether its volumes are as they were."""

    image: FlatImage | None
    status: int
    output: str
    volumes_are_the_same: bool


def build_inside(
    containers: Containers,
    registry: Registry,
    written: Written,
    place: Path,
    more_arguments: Sequence[str] = (),
) -> BuiltInside:
    """Build a case below /kaniko, its docker.io being `registry`."""
    (place / "results").mkdir()
    written.case.write_context(place / "context")
    options = [
        *make_volumes(place / "volumes", volumes_beside(written)),
        *(f"--volume={place}/{name}:/kaniko/{name}" for name in ("context", "results")),
        *(f"--env={name}={value}" for name, value in written.environment.items()),
    ]
    before = look_at(place / "volumes")
    arguments = ["--no-push", "--oci-layout-path=/kaniko/results/layout", *more_arguments]
    where = f"--registry-map=docker.io={registry.host}"
    done = containers.run_to_end(
        IMAGE, [*arguments, where, *written.arguments("/kaniko/context")], options=options
    )
    image = flatten_layout(place / "results/layout") if done.returncode == 0 else None
    return BuiltInside(
        image,
        done.returncode,
        f"{done.stdout}{done.stderr}",
        look_at(place / "volumes") == before,
    )


def volumes_beside(written: Written) -> list[str]:
    """The volumes that a case's own steps don't use: what a step writes there is not the image's."""
    texts = [
        path.read_text(errors="replace")
        for path in written.case.directory.rglob("*")
        if path.is_file() and path.name not in ("case.json", "expected.json")
    ]
    used = {word for text in texts for word in re.findall(r"[a-z]+", text)}
    return [volume for volume in VOLUMES if volume.split("/")[1] not in used]
