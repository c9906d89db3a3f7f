"""Builds give what is written down for them, from the rules of the Dockerfile language."""

from pathlib import Path

import pytest

from support.buildah_results import BuildahResults
from support.corpus import Written, expected_cases
from support.docker_results import DockerResults
from support.flatten import FlatImage
from support.kept_outcome import Outcome
from support.namespace_results import NamespaceResults

ALL = expected_cases()


def _checked_with(builder: str) -> list[Written]:
    return [each for each in ALL if each.expected and builder in each.expected.checked_with]


def test_each_says_what_a_current_buildkit_gave() -> None:
    silent = [
        written.case.name
        for written in ALL
        if written.expected
        and ("buildkit" in written.expected.checked_with) == ("buildkit" in written.expected.differs_from)
    ]
    assert silent == []


@pytest.mark.root
@pytest.mark.registry
@pytest.mark.parametrize("written", ALL, ids=lambda written: written.case.name)
def test_as_written(
    written: Written, flat_bases: dict[str, FlatImage], namespace_results: NamespaceResults
) -> None:
    case, expected, built = written.case, written.expected, namespace_results.built(written)
    assert expected
    lines = [f"output: expected {text!r} in it" for text in expected.output if text not in built.output]
    if expected.error:
        lines += expected.error.differences(built.status, built.output, Path(case.dockerfile).name)
    elif built.image is None:
        lines.append(f"status {built.status}")
    else:
        base = flat_bases[expected.base]
        lines += [
            *expected.differences(base, built.image),
            *expected.history_differences(base, built.image),
        ]
    if lines:
        pytest.fail("\n".join([*lines, built.output]), pytrace=False)


@pytest.mark.root
@pytest.mark.registry
@pytest.mark.docker
@pytest.mark.parametrize("written", _checked_with("docker"), ids=lambda written: written.case.name)
def test_docker_agrees(
    written: Written, flat_bases: dict[str, FlatImage], docker_results: DockerResults, tmp_path: Path
) -> None:
    _check(written, docker_results.outcome(written.case, tmp_path), flat_bases)


@pytest.mark.root
@pytest.mark.registry
@pytest.mark.buildah
@pytest.mark.parametrize("written", _checked_with("buildah"), ids=lambda written: written.case.name)
def test_buildah_agrees(
    written: Written, flat_bases: dict[str, FlatImage], buildah_results: BuildahResults, tmp_path: Path
) -> None:
    _check(written, buildah_results.outcome(written.case, tmp_path), flat_bases)


def _check(written: Written, outcome: Outcome, flat_bases: dict[str, FlatImage]) -> None:
    """Check the expectation itself against another builder."""
    expected = written.expected
    assert expected
    if bool(outcome.error) != bool(expected.error):
        pytest.fail(outcome.error or "it builds", pytrace=False)
    if outcome.image:
        lines = expected.differences(flat_bases[expected.base], outcome.image, directory_times=False)
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)
