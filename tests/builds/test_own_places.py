"""What knarr itself reads and writes below a context is no part of it: nor of the image, nor of any key."""

import threading
from pathlib import Path

import pytest

from support.builds import Builds
from support.compare import compare
from support.flatten import FlatImage, flatten_layout
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

DOCKERFILE = """\
FROM busybox AS seen
COPY . /copied
ADD . /added
COPY --from=named . /named
COPY --parents ./**/* /parents/
RUN --mount=type=bind,target=/context --mount=type=bind,from=named,target=/other \\
    --mount=type=bind,target=/written,rw --mount=type=cache,target=/c \\
    cp -r /written /context /other / 2>/dev/null; \\
    find /context /other /written | sort > /list; head -c 200000 /dev/urandom > /c/random
FROM named
COPY --from=seen / /seen
"""
OWN = ("cache", "work", "mounts", "base", "out/layout", "out/image.tar", "digest", "names", "report.html")


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def build(builds: Builds, place: Path, *arguments: str) -> tuple[FlatImage, str]:
    """Build with all that the build writes and keeps below `place`."""
    (place / "work").mkdir(parents=True, exist_ok=True)
    result = builds.run(
        [
            *builds.arguments(builds.place / "context", f"--build-context=named={builds.place}/context/sub"),
            "--cache",
            "--cache-copy-layers",
            "--no-push",
            f"--cache-repo=oci:{place}/cache",
            f"--cache-dir={place}/base",
            f"--mount-cache-dir={place}/mounts",
            f"--oci-layout-path={place}/out/layout",
            f"--tar-path={place}/out/image.tar",
            f"--digest-file={place}/digest",
            f"--image-name-with-digest-file={place}/names",
            f"--destination={builds.name('own/places')}",
            f"--report={place}/report.html",
            *arguments,
        ],
        environment={"KNARR_DIR": str(place / "work")},
    )
    return flatten_layout(place / "out/layout"), result.log


@pytest.mark.parametrize("below", ["", "hidden/deep", "sub", "sub/new"])
def test_the_image_is_as_if_they_lay_elsewhere(below: str, builds: Builds) -> None:
    context = builds.context(DOCKERFILE, {"file": "x", "sub/file": "y", "sub/dir/file": "z"})
    expected, _ = build(builds, builds.place / "elsewhere")
    for number in range(2):
        image, log = build(builds, context / below)
        assert compare(expected, image) == []
        assert ("0 of 6 cached" if number == 0 else "1 of 1 cached") in log
    # Without the cache, what was kept by now is still none of the context's.
    image, _ = build(builds, context / below, "--cache=false")
    assert compare(expected, image) == []
    assert not {f"/seen/copied/{below}/{each}".replace("//", "/") for each in OWN} & image.files.keys()


def test_names_that_come_and_go_do_not_end_a_build(builds: Builds) -> None:
    """As another program's temporary files do while a context is read."""
    context = builds.context("FROM scratch\nCOPY . /\n", {"file": "x"})
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            for name in range(50):
                (context / f"link{name}").symlink_to("file")
            for name in range(50):
                (context / f"link{name}").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(4):
            builds.run(builds.arguments(context, "--no-push", "--isolation=none"))
    finally:
        over.set()
        thread.join()
