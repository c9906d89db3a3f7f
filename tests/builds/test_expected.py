"""Builds give what is written down for them, from the rules of the Dockerfile language."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from support.bases import Base
from support.buildah_results import BuildahResults
from support.cases import Case, read_cases
from support.docker_results import DockerResults
from support.expectation import Expectation
from support.flatten import FlatImage, flatten_layout
from support.kept_outcome import Outcome
from support.knarr_cli import knarr
from support.registry import Registry


@dataclass(frozen=True, slots=True)
class Written:
    """A case with its expectation."""

    case: Case
    expected: Expectation


ALL = [
    Written(case, Expectation.read(case.directory / "expected.json"))
    for case in read_cases(Path(__file__).parent / "expected")
]


def _checked_with(builder: str) -> list[Written]:
    return [each for each in ALL if each.expected.checked_with == builder]


@pytest.fixture(scope="session")
def flat_bases(bases: list[Base]) -> dict[str, FlatImage]:
    flat = {
        base.name: flatten_layout(base.layout) for base in bases if base.name in ("busybox", "fullconfig")
    }
    return {**flat, "scratch": FlatImage({}, {}, ())}


@pytest.mark.root
@pytest.mark.registry
@pytest.mark.parametrize("written", ALL, ids=lambda written: written.case.name)
def test_as_written(
    written: Written, flat_bases: dict[str, FlatImage], base_registry: Registry, tmp_path: Path
) -> None:
    case, expected = written.case, written.expected
    context, layout = case.write_context(tmp_path / "context"), tmp_path / "layout"
    result = knarr(
        [
            "build",
            str(context),
            *(["-f", str(context / case.dockerfile)] if case.dockerfile != "Dockerfile" else []),
            *(["--target", case.target] if case.target else []),
            *(word for item in case.build_args.items() for word in ("--build-arg", "=".join(item))),
            *(word for item in case.labels.items() for word in ("--label", "=".join(item))),
            *expected.arguments,
            "--no-push",
            f"--oci-layout-path={layout}",
            f"--insecure-registry={base_registry.host}",
            f"--registry-map=docker.io={base_registry.host}",
        ],
        environment=expected.environment,
    )
    said = f"{result.stdout}{result.stderr}"
    lines = [f"output: expected {text!r} in it" for text in expected.output if text not in said]
    if expected.error:
        lines += expected.error.differences(result.returncode, said, Path(case.dockerfile).name)
    elif result.returncode:
        lines.append(f"status {result.returncode}")
    else:
        base, image = flat_bases[expected.base], flatten_layout(layout)
        lines += [*expected.differences(base, image), *expected.history_differences(base, image)]
    if lines:
        pytest.fail("\n".join([*lines, said]), pytrace=False)


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
@pytest.mark.parametrize("written", _checked_with("buildah"), ids=lambda written: written.case.name)
def test_buildah_agrees(
    written: Written, flat_bases: dict[str, FlatImage], buildah_results: BuildahResults, tmp_path: Path
) -> None:
    _check(written, buildah_results.outcome(written.case, tmp_path), flat_bases)


def _check(written: Written, outcome: Outcome, flat_bases: dict[str, FlatImage]) -> None:
    """Check the expectation itself against another builder."""
    expected = written.expected
    if bool(outcome.error) != bool(expected.error):
        pytest.fail(outcome.error or "it builds", pytrace=False)
    if outcome.image:
        lines = expected.differences(flat_bases[expected.base], outcome.image, directory_times=False)
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)
