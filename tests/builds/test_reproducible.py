"""Builds that give the same digest wherever and whenever they run."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.builds import Builds
from support.flatten import FlatImage, flatten_layout
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

USAGE_ERROR = 2
EPOCH_S = 1_600_000_000
EPOCH = "2020-09-13T12:26:40Z"
OLD_S = 1_000_000_000
DOCKERFILE = """\
FROM busybox AS made
WORKDIR /made/here
RUN echo made > made
FROM busybox
ARG SOURCE_DATE_EPOCH
COPY . /context/
COPY --from=made /made /made
RUN echo "$SOURCE_DATE_EPOCH" > /said; mkdir -m 750 /d; touch -d @1000000000 /old
"""


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def flat(
    builds: Builds,
    *arguments: str,
    dockerfile: str = DOCKERFILE,
    environment: Mapping[str, str] | None = None,
) -> FlatImage:
    """Build, read the image, check that no time of it is later than its config's."""
    shutil.rmtree(builds.place / "out", ignore_errors=True)
    out = f"--oci-layout-path={builds.place}/out"
    files = {"new": "new", "old": "old", "d/f": "f"}
    builds.context(dockerfile, files)
    os.utime(builds.place / "context/old", (OLD_S, OLD_S))
    builds.run(
        builds.arguments(builds.place / "context", "--no-push", out, *arguments), environment=environment
    )
    return flatten_layout(builds.place / "out")


def own_created(image: FlatImage) -> set[str]:
    """Times of the config, of the history that is not the base's."""
    entries = image.config["history"][-3:]
    return {image.config["created"], *(entry["created"] for entry in entries)}


def test_same_digest_in_another_place_zone_umask(builds: Builds) -> None:
    digests = []
    for number, (zone, umask) in enumerate((("UTC", 0o022), ("Asia/Kolkata", 0o077))):
        place = builds.place / f"place{number}"
        place.mkdir()
        old = os.umask(umask)
        try:
            other = Builds(builds.registry, place)
            context = other.context(DOCKERFILE, {"z": "z", "a": "a", "d/f": "f"})
            for path in (context, context / "d"):
                path.chmod(0o755)
            for path in context.glob("**/*[!d]"):
                path.chmod(0o644 if path.is_file() else 0o755)
            environment = {"SOURCE_DATE_EPOCH": str(EPOCH_S), "TZ": zone}
            result = other.run(other.arguments(context, "--no-push"), environment=environment)
        finally:
            os.umask(old)
        digests.append(result.output)
    assert digests[0] == digests[1]


def test_times_are_clamped(builds: Builds) -> None:
    image = flat(builds, environment={"SOURCE_DATE_EPOCH": str(EPOCH_S)})
    assert own_created(image) == {EPOCH}
    assert image.files["/said"].text == f"{EPOCH_S}\n"
    assert image.files["/context/new"].mtime_s == image.files["/made/here"].mtime_s == EPOCH_S
    assert image.files["/context/old"].mtime_s == image.files["/old"].mtime_s == OLD_S
    plain = flat(builds)
    assert plain.config["created"] > EPOCH
    assert plain.files["/context/new"].mtime_s > EPOCH_S
    count = len(plain.config["rootfs"]["diff_ids"]) - 3
    assert image.config["rootfs"]["diff_ids"][:count] == plain.config["rootfs"]["diff_ids"][:count]


def test_build_argument_is_before_environment_is_before_dockerfile(builds: Builds) -> None:
    dockerfile = f"ARG SOURCE_DATE_EPOCH={OLD_S}\nFROM scratch\nCOPY new /\n"
    environment = {"SOURCE_DATE_EPOCH": "1"}
    argument = f"--build-arg=SOURCE_DATE_EPOCH={EPOCH_S}"
    times = [
        flat(builds, dockerfile=dockerfile).files["/new"].mtime_s,
        flat(builds, dockerfile=dockerfile, environment=environment).files["/new"].mtime_s,
        flat(builds, argument, dockerfile=dockerfile, environment=environment).files["/new"].mtime_s,
    ]
    assert times == [OLD_S, 1, EPOCH_S]


def test_empty_epoch_is_none(builds: Builds) -> None:
    argument = "--build-arg=SOURCE_DATE_EPOCH="
    image = flat(builds, argument, environment={"SOURCE_DATE_EPOCH": str(EPOCH_S)})
    assert image.config["created"] > EPOCH


def test_reproducible_without_an_epoch(builds: Builds) -> None:
    image = flat(builds, "--reproducible")
    assert own_created(image) == {"1970-01-01T00:00:00Z"}
    assert image.files["/context/old"].mtime_s == image.files["/made/here"].mtime_s == 0
    again = flat(builds, "--reproducible")
    assert json.dumps(again.config) == json.dumps(image.config)
    later = flat(builds, "--reproducible", environment={"SOURCE_DATE_EPOCH": str(EPOCH_S)})
    assert own_created(later) == {EPOCH}


def test_cached_layers_of_other_times_are_not_taken(builds: Builds, tmp_path: Path) -> None:
    cache = ["--cache", "--cache-copy-layers", f"--cache-repo=oci:{tmp_path}/cache"]
    dockerfile = "FROM scratch\nCOPY new /\n"
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH_S)}
    plain = flat(builds, *cache, dockerfile=dockerfile)
    image = flat(builds, *cache, dockerfile=dockerfile, environment=environment)
    assert plain.files["/new"].mtime_s > image.files["/new"].mtime_s == EPOCH_S
    again = flat(builds, *cache, dockerfile=dockerfile, environment=environment)
    assert again.config == image.config


@pytest.mark.parametrize("text", ["now", "-1", "1.5", "0x10", "1 ", "context"])
def test_no_number(builds: Builds, text: str) -> None:
    result = builds.build(
        "FROM scratch\n", f"--build-arg=SOURCE_DATE_EPOCH={text}", "--no-push", status=USAGE_ERROR
    )
    assert "SOURCE_DATE_EPOCH is not a number of seconds" in result.explanation


def test_overlayfs_and_a_scan_give_the_same_layers(builds: Builds) -> None:
    dockerfile = (
        "FROM busybox\n"
        "RUN mkdir -p /d/sub /e/f && touch /d/a /d/b /d/sub/c /e/g /gone\n"
        "RUN rm -r /d /gone && mkdir -p /d/sub && echo n > /d/n && echo 1 > /aa && rm /e/g && chmod 7 /e/f\n"
    )
    flags = ("--no-push", "--reproducible", "--isolation=namespace")
    by_overlayfs = builds.build(dockerfile, *flags)
    parts = {name: builds.place / f"overlay-{name}" for name in ("lower", "upper", "work")}
    for path in parts.values():
        path.mkdir()
    options = ",".join(f"{name}dir={path}" for name, path in parts.items())
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, builds.work], check=True)
    try:
        by_scan = builds.build(dockerfile, *flags)
    finally:
        subprocess.run(["umount", builds.work], check=True)
    assert "changes by overlayfs" in by_overlayfs.log
    assert "changes by scan" in by_scan.log
    assert by_scan.output == by_overlayfs.output
