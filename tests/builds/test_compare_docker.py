"""The same Dockerfiles built by knarr and by a Docker engine's BuildKit give the same images."""

from pathlib import Path

import pytest

from support.compare import Names, compare
from support.corpus import Written, compared_cases
from support.docker_results import DockerResults
from support.history_wording import common_wording
from support.knarr_cli import INTERNAL_ERROR
from support.namespace_results import NamespaceResults


@pytest.mark.root
@pytest.mark.registry
@pytest.mark.docker
@pytest.mark.parametrize("written", compared_cases(), ids=lambda written: written.case.name)
def test_same_image_as_docker(
    written: Written, docker_results: DockerResults, namespace_results: NamespaceResults, tmp_path: Path
) -> None:
    case = written.case
    theirs = docker_results.outcome(case, tmp_path)
    ours = namespace_results.built(written)
    if ours.status == INTERNAL_ERROR:
        pytest.fail(ours.output, pytrace=False)
    if bool(theirs.error) != case.fails:
        pytest.fail(f"the case is wrong about Docker: {theirs.error or 'it builds'}", pytrace=False)
    if bool(ours.status) != case.fails:
        said = ours.output or f"knarr built what Docker refuses:\n{theirs.error}"
        pytest.fail(f"status {ours.status}\n{said}", pytrace=False)
    if theirs.image and ours.image:
        lines = compare(
            theirs.image,
            ours.image,
            names=Names("docker", "knarr"),
            ignore=tuple(case.known_differences),
            wording=common_wording,
        )
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)
