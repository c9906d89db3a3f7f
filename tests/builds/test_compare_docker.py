"""The same Dockerfiles built by knarr and by a Docker engine's BuildKit give the same images."""

from pathlib import Path

import pytest

from support.cases import Case, read_cases
from support.compare import Names, compare
from support.docker_results import DockerResults
from support.flatten import flatten_layout
from support.history_wording import common_wording
from support.kept_outcome import Outcome
from support.knarr_cli import INTERNAL_ERROR, knarr
from support.registry import Registry

CASES = read_cases(Path(__file__).parent / "cases")


@pytest.mark.root
@pytest.mark.registry
@pytest.mark.docker
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_image_as_docker(
    case: Case, docker_results: DockerResults, base_registry: Registry, tmp_path: Path
) -> None:
    theirs = docker_results.outcome(case, tmp_path)
    ours = _build(case, base_registry.host, tmp_path)
    if bool(theirs.error) != case.fails:
        pytest.fail(f"the case is wrong about Docker: {theirs.error or 'it builds'}", pytrace=False)
    if bool(ours.error) != case.fails:
        pytest.fail(ours.error or f"knarr built what Docker refuses:\n{theirs.error}", pytrace=False)
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


def _build(case: Case, registry_host: str, tmp: Path) -> Outcome:
    context, layout = case.write_context(tmp / "context"), tmp / "layout"
    result = knarr(
        [
            "build",
            str(context),
            "-f",
            str(context / case.dockerfile),
            *(["--target", case.target] if case.target else []),
            *(word for item in case.build_args.items() for word in ("--build-arg", "=".join(item))),
            *(word for item in case.labels.items() for word in ("--label", "=".join(item))),
            "--no-push",
            "--oci-layout-path",
            str(layout),
            "--insecure-registry",
            registry_host,
            "--registry-map",
            f"docker.io={registry_host}",
        ]
    )
    if result.returncode == INTERNAL_ERROR:
        pytest.fail(result.stderr, pytrace=False)
    if result.returncode:
        return Outcome(None, f"status {result.returncode}\n{result.stdout}{result.stderr}")
    return Outcome(flatten_layout(layout))
