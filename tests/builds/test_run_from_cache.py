"""Builds whose RUN steps are all in the cache, where none can be run."""

from pathlib import Path

import pytest

from knarr.errors import IsolationError
from support.builds import Builds, check_explained
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

DOCKERFILE = """\
FROM busybox AS made
COPY file /
RUN cat /file /proc/sys/kernel/random/uuid > /made
FROM busybox
COPY --from=made /made /
RUN {run}
"""


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def build(builds: Builds, *arguments: str, run: str = "true", status: int = 0) -> str:
    name = builds.name(f"{builds.place.name.lower()}:1")
    flags = ["--cache", f"--destination={name}", *arguments]
    files = {"file": "text\n"}
    return builds.build(DOCKERFILE.format(run=run), *flags, files=files, status=status).log


@pytest.mark.parametrize("flags", [["--cache-copy-layers"], []], ids=["all", "copies-anew"])
def test_what_is_cached_need_not_run(builds: Builds, flags: list[str]) -> None:
    build(builds, *flags)
    made = builds.config(builds.place.name.lower(), "1")["rootfs"]
    log = build(builds, "--isolation=none", *flags)
    assert builds.config(builds.place.name.lower(), "1")["rootfs"] == made
    assert "Unpacking rootfs" not in log


@pytest.mark.debian
def test_what_is_not_cached_is_refused_before_a_download(builds: Builds) -> None:
    flags = ["--cache", "--cache-repo", builds.name("none/such"), "--no-push", "--isolation=none"]
    result = builds.build("FROM debian\nRUN true\n", *flags, status=IsolationError.exit_status)
    check_explained(result, "Dockerfile:2", "RUN true", "--isolation")
    assert "pulled" not in result.log


def test_a_step_behind_cached_ones_is_refused(builds: Builds) -> None:
    build(builds, "--cache-copy-layers")
    log = build(
        builds,
        "--isolation=none",
        "--cache-copy-layers",
        run="echo new",
        status=IsolationError.exit_status,
    )
    assert "Dockerfile:6" in log
    assert "pulled" not in log
