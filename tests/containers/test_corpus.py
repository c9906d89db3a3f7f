"""Every whole-build case in stock containers: the images of namespaces, and no volume touched."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.compare import Names, compare
from support.container_builds import Containers, build_inside, volumes_beside
from support.corpus import Written, compared_cases, expected_cases
from support.namespace_results import NamespaceResults
from support.registry import Registry
from support.volumes import VOLUMES

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

CORPUS = [*compared_cases(), *expected_cases()]
FIXTURES = {"docker": "engine", "podman": "podman"}

# A file of a lower layer that is changed loses its other names on overlayfs, and nowhere else.
LINKS_HOLD = ("copy-from-stages", "run-hard-links", "run-metadata")
# Podman's containers may make user namespaces, in which no one may make a device, and a file that is
# written to loses its set-user-ID bit.
NOT_IN_USER_NAMESPACES = ("run-metadata", "run-special-files")
KNOWN = {
    "heredoc-run-shebang": ("/writing: *", "layer 2: /writing *"),  # a read-only file needs a mount
    "run-debian-packages": ("layer 1: /etc/.pwd.lock *",),  # overlayfs has what was opened for writing
    "run-devices-and-proc": ("/hostname: *",),  # a stock container can't make a UTS namespace
    "run-mount-cache-tmpfs": ("/tmp-type: *",),  # a tmpfs needs a mount
    "run-own-processes": ("/numbers: *",),  # a stock container can't make a pid namespace
}


@dataclass(frozen=True, slots=True)
class Place:
    """An engine that has the executor's image."""

    name: str
    containers: Containers


@pytest.fixture(scope="session", params=FIXTURES)
def place(request: pytest.FixtureRequest) -> Place:
    """Each of the engines."""
    return Place(request.param, request.getfixturevalue(FIXTURES[request.param]))


@pytest.fixture(scope="session")
def scanned_results(
    base_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamespaceResults]:
    """What namespaces give without overlayfs, which can't be mounted on itself."""
    directory = tmp_path_factory.mktemp("scanned")
    for name in ("lower", "upper", "work", "merged"):
        (directory / name).mkdir()
    options = ",".join(f"{name}dir={directory / name}" for name in ("lower", "upper", "work"))
    merged = directory / "merged"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
    try:
        yield NamespaceResults(base_registry, tmp_path_factory.mktemp("scanned-results"), merged)
    finally:
        subprocess.run(["umount", merged], check=True)


def test_most_cases_leave_the_volumes_alone() -> None:
    beside = Counter(volume for written in CORPUS for volume in volumes_beside(written))
    assert min(beside[volume] for volume in VOLUMES) > len(CORPUS) * 0.8


@pytest.mark.parametrize("written", CORPUS, ids=lambda written: written.case.name)
def test_same_as_in_namespaces(
    place: Place, written: Written, base_registry: Registry, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = written.case.name
    fixture = "scanned_results" if name in LINKS_HOLD else "namespace_results"
    results: NamespaceResults = request.getfixturevalue(fixture)
    theirs = results.built(written)
    arguments = ["--isolation=inplace"] if name in NOT_IN_USER_NAMESPACES else []
    ours = build_inside(place.containers, base_registry, written, tmp_path, arguments)
    assert ours.status == theirs.status, ours.output
    assert ours.volumes_are_the_same
    if theirs.image and ours.image:
        names = Names("namespace", place.name)
        if lines := compare(theirs.image, ours.image, names=names, ignore=KNOWN.get(name, ())):
            pytest.fail("\n".join(lines), pytrace=False)
